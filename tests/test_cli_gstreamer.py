"""`rtseg gstreamer`: two lines for a shell, or one that says what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rtseg.cli.main import main
from rtseg.gstreamer import PLUGINS


def system_python(tmp_path: Path, prints: str | None) -> str:
    """Stands for the system's Python: says which it is and where its bindings are, or that it has none."""
    script = tmp_path / "python3"
    script.write_text(f"#!/bin/sh\n{'exit 1' if prints is None else f'echo {prints}'}\n")
    script.chmod(0o755)
    return str(script)


def run() -> int:
    with pytest.raises(SystemExit) as ended:
        main(["gstreamer"])
    return int(ended.value.code or 0)


def test_a_shell_gets_what_it_had_after_what_the_element_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ours = ".".join(map(str, sys.version_info[:2]))
    monkeypatch.setattr(
        "rtseg.cli.gstreamer._SYSTEM", system_python(tmp_path, f"{ours.replace('.', ' ')} '/usr/lib/its own'")
    )
    assert run() == 0
    told = capfd.readouterr().out
    script = f'export PYTHONPATH=/before\n{told}\nprintf \'%s\\n\' "$GST_PLUGIN_PATH" "$PYTHONPATH"'
    done = subprocess.run(["env", "-i", "/bin/sh", "-euc", script], capture_output=True, text=True, check=True)
    plugins, python = done.stdout.splitlines()
    assert plugins == str(PLUGINS)
    first, *_, bindings, before = python.split(":")
    assert (Path(first) / "rtseg/gstreamer").samefile(PLUGINS)
    assert (bindings, before) == ("/usr/lib/its own", "/before")


@pytest.mark.parametrize(
    ("prints", "says"), [(None, "apt install python3-gi"), ("3 9 /usr/lib", "GStreamer runs Python 3.9")]
)
def test_what_is_missing_is_one_line_and_no_environment(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    prints: str | None,
    says: str,
) -> None:
    monkeypatch.setattr("rtseg.cli.gstreamer._SYSTEM", system_python(tmp_path, prints))
    assert run() == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert says in " ".join(told.err.split())


def test_a_system_without_python_is_told_so(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("rtseg.cli.gstreamer._SYSTEM", "/nowhere/python3")
    assert run() == 2
    assert "has no PyGObject" in " ".join(capfd.readouterr().err.split())
