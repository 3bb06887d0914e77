"""An archive: every file once, whatever dies in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from archives import PATTERN, REPEATED, archive, contents, dies, hangs
from commands import RTSEG, Rtseg, runner

from rtseg.api import run
from rtseg.archive.batch import Batch, Progress, batch
from rtseg.archive.drive import DriveOptions
from rtseg.archive.journal import Journal
from rtseg.archive.tasks import Result, RunChoice, find_files, key_of, settings_hash
from rtseg.archive.workers import LocalWorkers
from rtseg.config import parse_config
from rtseg.errors import ConfigError

BLURRED = RunChoice(options={"model": "portrait-fast", "background": "blur"}, codec=REPEATED)


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four files, a damaged one among them."""
    folder = archive(tmp_path_factory.mktemp("archive"), 3)
    (folder / "bad.mp4").write_bytes((folder / "000.mp4").read_bytes()[:2000])
    (folder / "notes.txt").write_text("no video")
    return folder


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str]) -> Rtseg:
    return runner(capsys)


PROGRAM = """
from archives import hangs
from rtseg.archive.batch import batch
from rtseg.archive.workers import LocalWorkers

if __name__ == "__main__":
    batch({folder!r}, {out!r}, workers=LocalWorkers(1, do=hangs))
"""


def lines(folder: Path) -> list[dict[str, Any]]:
    return rows(folder / "journal.jsonl")


def begun(folder: Path) -> Counter[str]:
    return Counter(line["file"] for line in lines(folder) if line["status"] == "begun")


def test_every_file_gets_a_folder_and_a_status(drives: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    made = batch(str(drives), tmp_path / "out", BLURRED, jobs=2, progress=told.append)
    assert {name: result.status for name, result in made.files.items()} == {
        "000.mp4": "done",
        "002.mp4": "done",
        "bad.mp4": "failed",
        "below/001.mp4": "done",
    }
    assert made.code == 7
    assert (told[-1].finished, told[-1].total, told[-1].counts["failed"]) == (4, 4, 1)
    names = ("000.mp4", "002.mp4", "below/001.mp4")
    files = {f"{name}/{file}" for name in names for file in ("status.json", "video.mp4")}
    assert contents(tmp_path / "out").keys() == {"batch.json", *files}
    summary = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert summary["counts"] == {"done": 3, "partial": 0, "failed": 1}
    assert summary["files"][2]["reason"].startswith("bad.mp4 ")
    assert str(drives) not in json.dumps(summary)


def test_a_second_run_does_nothing_again_but_what_failed(drives: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(str(drives), out, BLURRED)
    before = contents(out)
    with pytest.raises(ConfigError, match="give --resume"):
        batch(str(drives), out, BLURRED)
    made = batch(str(drives), out, BLURRED, resume=True)
    assert made.skipped == 3
    assert begun(out) == {"000.mp4": 1, "002.mp4": 1, "below/001.mp4": 1, "bad.mp4": 2}
    assert contents(out) == before


def test_other_options_a_changed_file_and_a_lost_output_are_done_anew(tmp_path: Path) -> None:
    folder, out = archive(tmp_path / "in", 3), tmp_path / "out"
    batch(str(folder), out, BLURRED)
    os.utime(folder / "000.mp4", ns=(1, 1))
    shutil.rmtree(out / "002.mp4")
    batch(str(folder), out, BLURRED, resume=True)
    assert begun(out) == {"000.mp4": 2, "002.mp4": 2, "below/001.mp4": 1}
    batch(str(folder), out, RunChoice(options={"model": "portrait-fast", "background": "#00ff00"}), resume=True)
    assert sum(begun(out).values()) == 8


def test_what_was_renamed_before_the_journal_knew_is_not_done_again(tmp_path: Path) -> None:
    folder, out = archive(tmp_path / "in", 2), tmp_path / "out"
    batch(str(folder), out, BLURRED)
    journal = out / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().rpartition(b"\n")[0].rpartition(b"\n")[0] + b'\n{"sche')
    assert batch(str(folder), out, BLURRED, resume=True).skipped == 2
    assert lines(out)[-1]["status"] == "done"
    assert set(begun(out).values()) == {1}


def test_a_process_that_dies_is_one_failed_file(tmp_path: Path) -> None:
    folder = archive(tmp_path / "in", 4)
    made = batch(str(folder), tmp_path / "out", BLURRED, workers=LocalWorkers(1, do=dies))
    assert made.files["below/001.mp4"] == Result("failed", "the process that worked on it died", code=1)
    assert made.counts == {"done": 3, "partial": 0, "failed": 1}
    assert not (tmp_path / "out" / ".work").exists()


def test_stopping_ends_the_processes_and_leaves_no_part(tmp_path: Path) -> None:
    folder, out = archive(tmp_path / "in", 1), tmp_path / "out"
    stop = threading.Event()

    def stop_when_begun(_: Progress) -> None:
        if list(out.glob(".work/*/pid")):
            stop.set()

    workers = LocalWorkers(1, do=hangs)
    made = batch(str(folder), out, BLURRED, workers=workers, stop=stop, progress=stop_when_begun)
    assert made == Batch({}, 0, stopped=True)
    assert sorted(path.name for path in out.iterdir()) == ["batch.json", "journal.jsonl"]


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    folder, out = archive(tmp_path / "in", 1), tmp_path / "out"
    (tmp_path / "program.py").write_text(PROGRAM.format(folder=str(folder), out=str(out)))
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, str(tmp_path / "program.py")]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}) as run:
        try:
            pid = int(wait_for(lambda: "".join(path.read_text() for path in out.glob(".work/*/pid"))))
        finally:
            run.kill()
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])


def wait_for(condition: Any, *, seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


@pytest.mark.slow
def test_a_batch_that_is_killed_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """benchmarks/archive.py does so with 50 files and 20 kills."""
    folder, whole, out = archive(tmp_path / "in", 6), tmp_path / "whole", tmp_path / "out"
    batch(str(folder), whole, BLURRED)
    command = [*RTSEG, "batch", str(folder), "-o", str(out), "--resume", "--jobs", "1", "-q", "--codec", REPEATED]
    command += ["--as", "run", "--model", "portrait-fast", "--background", "blur"]
    for kills in range(3):
        with subprocess.Popen(command) as run:
            try:
                wait_for(lambda seen=kills * 2: run.poll() is not None or journal_size(out) > seen)
            finally:
                run.send_signal(signal.SIGKILL)
    made = subprocess.run(command, check=False, timeout=60)
    assert made.returncode == 0
    assert contents(out) == contents(whole)
    assert sum(begun(out).values()) <= 6 + 3
    finished = Counter(line["file"] for line in lines(out) if line["status"] == "done")
    assert set(finished.values()) == {1}


@pytest.mark.slow
def test_every_frame_reaches_the_broker_though_the_batch_is_killed(tmp_path: Path) -> None:
    confluent = pytest.importorskip("confluent_kafka", reason="not installed: pip install 'rtseg[kafka]'")
    folder, out = archive(tmp_path / "in", 6), tmp_path / "out"
    host = confluent.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none"})
    (broker,) = host.list_topics(timeout=10).brokers.values()
    servers = f"{broker.host}:{broker.port}"
    command = [
        *RTSEG,
        "batch",
        str(folder),
        "-o",
        str(out),
        "--resume",
        "--jobs",
        "1",
        "-q",
        "--model",
        "road-fast",
        "--codec",
        REPEATED,
    ]
    command += ["--kafka", servers]
    for kills in range(3):
        with subprocess.Popen(command) as child:
            try:
                wait_for(lambda seen=kills * 3: child.poll() is not None or journal_size(out) > seen)
            finally:
                child.kill()
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
    ids = {tuple(json.loads(value)["id"]) for value in read_all(servers)}
    assert ids == {(row["stream"], row["pts"]) for path in out.rglob("frames.jsonl") for row in rows(path)}
    assert len(ids) == 6 * 5


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_all(servers: str) -> list[bytes]:
    """Every message of the topic, until nothing more has come for a second."""
    import confluent_kafka as confluent

    options = {"bootstrap.servers": servers, "group.id": "test", "auto.offset.reset": "earliest"}
    consumer = confluent.Consumer({**options, "enable.auto.commit": False})
    found: list[bytes] = []
    try:
        consumer.assign([confluent.TopicPartition("rtseg", number, 0) for number in range(4)])
        while (message := consumer.poll(10.0 if not found else 1.0)) is not None:
            if message.error() is None:
                found.append(message.value() or b"")
    finally:
        consumer.close()
    return found


def journal_size(out: Path) -> int:
    path = out / "journal.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def damaged(source: Path, path: Path) -> Path:
    """With noise in the middle of its packets."""
    run(f"{PATTERN},noise=alls=40", source, background="none", model="portrait-fast")
    data = bytearray(source.read_bytes())
    middle = data.index(b"mdat") + 4 + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 400] = bytes(byte ^ 0xA5 for byte in data[middle : middle + 400])
    path.write_bytes(data)
    return path


def test_what_was_lost_of_a_file_is_said_and_it_is_not_done_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    damaged(tmp_path / "whole.mp4", tmp_path / "in" / "hurt.mp4")
    made = batch(str(tmp_path / "in"), tmp_path / "out", BLURRED)
    result = made.files["hurt.mp4"]
    assert (result.status, made.code) == ("partial", 7)
    assert result.reason.split(" ", 1)[1] in ("damaged frames", "corrupt packets", "missing frames")
    assert batch(str(tmp_path / "in"), tmp_path / "out", BLURRED, resume=True) == Batch({"hurt.mp4": result}, 1)


def test_a_link_that_leads_nowhere_is_a_failed_file(tmp_path: Path) -> None:
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    made = batch(str(tmp_path), tmp_path / "out", BLURRED)
    assert made.files["gone.mp4"] == Result("failed", "it cannot be read: No such file or directory", code=5)
    assert made.code == 5
    assert begun(tmp_path / "out") == {}


def test_a_name_that_is_no_text_is_a_file_like_others(tmp_path: Path) -> None:
    folder, out = archive(tmp_path / "in", 1), tmp_path / "out"
    name = os.fsdecode(b"\xff\n.mp4")
    (folder / "000.mp4").rename(folder / name)
    for resume in (False, True):
        made = batch(str(folder), out, DriveOptions(model="road-fast", codec=REPEATED), resume=resume)
        assert (made.files[name].status, made.skipped) == ("done", int(resume))
    assert json.loads((out / "batch.json").read_text())["files"][0]["file"] == "\ufffd\n.mp4"
    assert (out / name / "frames.jsonl").is_file()


def test_a_signal_ends_it_with_its_code(tmp_path: Path) -> None:
    folder, out = archive(tmp_path / "in", 12), tmp_path / "out"
    command = [*RTSEG, "batch", str(folder), "-o", str(out), "--model", "road-fast", "--quiet", "--codec", REPEATED]
    with subprocess.Popen(command, start_new_session=True) as child:
        try:
            wait_for(lambda: journal_size(out) > 3)
            os.killpg(child.pid, signal.SIGINT)  # as a terminal does
            assert child.wait(10) == 130
        finally:
            child.kill()
    assert not (out / ".work").exists()
    assert not list(out.rglob("*.part"))


def test_two_batches_do_not_write_into_one_folder(drives: Path, tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(ConfigError, match="another batch writes into"):
        batch(str(drives), tmp_path, BLURRED, resume=True)


def test_a_journal_of_somebody_else_is_refused(tmp_path: Path) -> None:
    for text, message in (("hello\n", "line 1, is no journal's"), ('{"key":"a","schema":9}\n', "another version")):
        (tmp_path / "journal.jsonl").write_text(text)
        with pytest.raises(ConfigError, match=message):
            Journal(tmp_path)


def test_files_are_found_in_folders_and_by_patterns(drives: Path, tmp_path: Path) -> None:
    root, found = find_files(str(drives), without=tmp_path)
    assert [path.relative_to(root).as_posix() for path in found] == ["000.mp4", "002.mp4", "bad.mp4", "below/001.mp4"]
    root, found = find_files(f"{drives}/**/0*.mp4", without=drives / "below")
    assert [path.relative_to(root).as_posix() for path in found] == ["000.mp4", "002.mp4"]
    for given, message in ((str(tmp_path), "no video"), (str(drives / "000.mp4"), "no folder and no pattern")):
        with pytest.raises(ConfigError, match=message):
            find_files(given, without=tmp_path / "out")


def test_a_key_changes_with_the_log_and_the_calibration(drives: Path, tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    shutil.copy(drives / "000.mp4", video)
    choice = DriveOptions(analyzers=())
    keys = [key_of("a.mp4", video, settings_hash(choice), choice)]
    (tmp_path / "a.srt").write_text("log")
    keys.append(key_of("a.mp4", video, settings_hash(choice), choice))
    (tmp_path / "a.srt").write_text("gol")
    keys.append(key_of("a.mp4", video, settings_hash(choice), choice))
    keys.append(key_of("b.mp4", video, settings_hash(choice), choice))
    keys.append(key_of("a.mp4", video, settings_hash(DriveOptions(analyzers=(), parquet=True)), choice))
    assert len(set(keys)) == 5


def test_a_configuration_with_outputs_is_refused(drives: Path, tmp_path: Path) -> None:
    config = parse_config({"sinks": [{"type": "null"}]})
    with pytest.raises(ConfigError, match="take \\[\\[sinks\\]\\] out"):
        batch(str(drives), tmp_path, RunChoice(config))


def test_the_codes_say_what_became_of_it() -> None:
    done, failed, partial = Result("done"), Result("failed", code=5), Result("partial", code=7)
    assert Batch({"a": done}, 0).code == 0
    assert Batch({"a": done, "b": failed}, 0).code == 7
    assert Batch({"a": partial}, 0).code == 7
    assert Batch({"a": failed, "b": Result("failed", code=6)}, 0).code == 5


def test_the_command_tells_of_each_file(drives: Path, tmp_path: Path, rtseg: Rtseg) -> None:
    options = ("--as", "run", "--model", "portrait-fast", "--json")
    done = rtseg("batch", drives, "-o", tmp_path / "out", *options)
    assert done.code == 7
    assert done.error().startswith("error: bad.mp4: ")
    assert (done.json["done"], done.json["files"]["below/001.mp4"]) == (
        3,
        {"status": "done", "reason": "", "frames": 5},
    )
    assert rtseg("batch", drives, "-o", tmp_path / "x", "--background", "blur").code == 2
    assert rtseg("batch", drives, "-o", tmp_path / "x", "--parquet", *options).code == 2
