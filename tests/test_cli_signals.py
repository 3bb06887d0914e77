"""What Ctrl-C, `kill` and a second of them do to a run, in real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
from commands import ENDLESS, start

from rtseg.cli.main import main

LIMIT = 5.0
"""Seconds from a signal to the end of the process."""


@contextmanager
def running(folder: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """An endless run into out.mp4, which has begun to write."""
    child = start("run", ENDLESS, "-o", folder / "out.mp4", "--background", "none", *arguments)
    try:
        wait_until((folder / "out.mp4.part").exists, child)
        yield child
    finally:
        child.kill()
        child.communicate()


def wait_until(condition: Callable[[], bool], child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert child.poll() is None, f"ended with {child.returncode}: {child.communicate()[1]}"
        assert time.monotonic() < deadline, "nothing was written"
        time.sleep(0.02)


def handles_sigterm(pid: int) -> bool:
    """Whether the process has come as far as our own code: Python itself, starting, leaves SIGTERM alone."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_finishes_the_files(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with running(tmp_path, "--records", tmp_path / "out.jsonl") as child:
        sent = time.monotonic()
        child.send_signal(number)
        _, said = child.communicate(timeout=20)
        assert time.monotonic() - sent < LIMIT
    assert child.returncode == code
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.mp4"]
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = sum(1 for _ in container.decode(video=0))
    stopped = re.search(r"stopped: (\d+) of \d+ frames", said)
    assert stopped, said
    assert frames == int(stopped[1]) == len((tmp_path / "out.jsonl").read_text().splitlines())
    assert "Traceback" not in said


def test_a_second_signal_leaves_at_once(tmp_path: Path) -> None:
    """The records go into a pipe that nobody reads, so that the run cannot finish."""
    os.mkfifo(tmp_path / "pipe")
    with running(tmp_path, "--records", tmp_path / "pipe") as child:
        child.send_signal(signal.SIGTERM)
        assert child.stderr is not None
        for line in child.stderr:
            if "a second signal leaves at once" in line:
                break
        sent = time.monotonic()
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 143
        assert time.monotonic() - sent < 1.5
    assert (tmp_path / "out.mp4.part").exists()


def test_what_cannot_be_finished_is_left_after_the_grace(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with running(tmp_path, "--records", tmp_path / "pipe") as child:
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=20)
        assert time.monotonic() - sent < LIMIT
    assert child.returncode == 130
    assert "not finished 4.5 s after the signal" in said
    assert "Traceback" not in said


def test_a_signal_before_the_run_is_as_quiet() -> None:
    """While modules are imported, say: the moments are spread over the start of the process."""
    for delay in (0.0, 0.1, 0.25, 0.45):
        child = start("run", ENDLESS, "--records", os.devnull)
        wait_until(partial(handles_sigterm, child.pid), child)
        time.sleep(delay)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=20)
        assert child.returncode == 130
        assert "internal error" not in said


def test_a_signal_in_an_import_leaves_before_the_module_can_turn_it_into_an_error(tmp_path: Path) -> None:
    (tmp_path / "fragile.py").write_text(
        "import os, signal\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "except BaseException:\n"
        "    raise ImportError('initialization failed')\n"
    )
    code = "from rtseg.cli.interrupts import leave_on_signal\nwith leave_on_signal():\n    import fragile\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (130, "")


def test_what_a_signal_was_turned_into_still_ends_as_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(**_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except SystemExit:
            raise RuntimeError("a callback failed") from None

    monkeypatch.setitem(sys.modules, "rtseg.cli.app", SimpleNamespace(app=fragile))
    with pytest.raises(SystemExit) as ended:
        main(["run"])
    assert ended.value.code == 143
