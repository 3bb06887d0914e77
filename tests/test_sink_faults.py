"""Killed, out of room, unplugged: what is left of a file, and which error says so."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from written import decode, moving_frame, output_of, times

from rtseg.errors import DiskFull, SinkError
from rtseg.sinks.images import ImageFolder
from rtseg.sinks.masks import MaskFolder
from rtseg.sinks.records import Records
from rtseg.sinks.video import VideoWriter
from rtseg.types import Frame, Sink, StreamInfo

FAST = "h264:preset=ultrafast,tune=zerolatency"
TESTS = Path(__file__).parent

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


def child(script: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python of its own that runs `script` with this folder's modules."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _write_all(sink: Sink, frames: list[Frame]) -> None:
    for frame in frames:
        sink.write(output_of(frame))


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("mp4", "h264"), ("mp4", FAST), ("mov", "h265"), ("mkv", "h264"), ("webm", "vp9"), ("mkv", "av1")],
)
def test_killed_at_any_moment_the_part_plays_but_for_its_last_second(tmp_path: Path, ending: str, codec: str) -> None:
    path = tmp_path / f"out.{ending}"
    with child(
        """
        import sys
        from fractions import Fraction
        from written import moving_frame, output_of
        from rtseg.sinks.video import VideoWriter
        from rtseg.types import StreamInfo
        sink = VideoWriter(sys.argv[1], codec=sys.argv[2], info=StreamInfo("x", rate=Fraction(30)))
        for i in range(20_000):
            sink.write(output_of(moving_frame(i, size=(320, 180))))
            print(i, flush=True)
        """,
        str(path),
        codec,
    ) as writer:
        assert writer.stdout is not None
        said = -1
        for line in writer.stdout:
            said = int(line)
            if said == 157:
                break
        writer.kill()
        written = max([said, *map(int, writer.stdout.read().split())]) + 1
    assert writer.returncode == -signal.SIGKILL
    assert [child.name for child in tmp_path.iterdir()] == [path.name + ".part"]
    shown = times(path.with_name(path.name + ".part"))
    assert written - len(shown) <= 30
    # B-frames that were still to come may be missing from the last group.
    assert [round(t * 30) for t in shown[:-4]] == list(range(len(shown) - 4))


def test_closed_cleanly_an_mp4_is_an_ordinary_one(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, codec=FAST) as sink:
        for i in range(90):
            sink.write(output_of(moving_frame(i)))
    boxes = []
    data = path.read_bytes()
    at = 0
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8].decode()
        at += size or len(data)
        boxes.append(kind)
    assert "moof" not in boxes
    assert boxes.count("moov") == 1
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 90


def test_while_a_file_is_written_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"before")
    with VideoWriter(path, codec=FAST) as sink:
        sink.write(output_of(moving_frame(0)))
        assert path.read_bytes() == b"before"
    assert len(decode(path)) == 1


@needs_full
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_full_device_ends_a_video_with_disk_full(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out.{ending}"
    path.symlink_to("/dev/full")
    noise = np.random.default_rng(0).integers(0, 255, (90, 160), np.uint8)
    sink = VideoWriter(path, codec=FAST)
    frames = [moving_frame(i, size=(160, 90)) for i in range(200)]
    noisy = [f.with_planes((np.roll(noise, f.index, axis=1), f.planes[1], f.planes[2])) for f in frames]
    with pytest.raises(DiskFull, match="no room left for /dev/full"):
        _write_all(sink, noisy)
    assert sink.frames < 200
    with pytest.raises(DiskFull):
        sink.write(output_of(noisy[0]))
    sink.close()  # nothing more to say
    assert [child.name for child in tmp_path.iterdir()] == [path.name]


def test_out_of_room_half_way_the_part_stays_and_plays(tmp_path: Path) -> None:
    writer = child(
        """
        import resource, signal, sys
        import numpy as np
        from written import moving_frame, output_of
        from rtseg.errors import DiskFull
        from rtseg.sinks.video import VideoWriter
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        noise = np.random.default_rng(0).integers(0, 255, (90, 160), np.uint8)
        sink = VideoWriter(sys.argv[1], codec="h264:preset=ultrafast,tune=zerolatency")
        try:
            for i in range(1000):
                frame = moving_frame(i, size=(160, 90))
                sink.write(output_of(frame.with_planes((np.roll(noise, i, axis=1), *frame.planes[1:]))))
        except DiskFull as error:
            print(i, error)
        sink.close()
        """,
        str(tmp_path / "out.mp4"),
    )
    said, complaints = writer.communicate(timeout=60)
    assert complaints == ""
    written, _, message = said.partition(" ")
    assert "no room left" in message
    assert "what was written so far is kept in" in message
    assert [child.name for child in tmp_path.iterdir()] == ["out.mp4.part"]
    whole = 0
    with av.open(str(tmp_path / "out.mp4.part")) as container, contextlib.suppress(av.error.InvalidDataError):
        for _ in container.decode(video=0):  # the last frame is cut off in the middle
            whole += 1
    assert 0 < int(written) - whole <= 30


@needs_full
def test_a_full_device_ends_records_with_disk_full(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.symlink_to("/dev/full")
    sink = Records(path)
    with pytest.raises(DiskFull):
        sink.write(output_of(moving_frame(0)))
    sink.close()


@pytest.mark.parametrize("sink", [ImageFolder, MaskFolder])
def test_out_of_room_a_folder_has_whole_files_only(tmp_path: Path, sink: type[ImageFolder | MaskFolder]) -> None:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    folder: Sink = sink(tmp_path)
    folder.write(output_of(moving_frame(0)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, old[1]))
    try:
        with pytest.raises(DiskFull):
            folder.write(output_of(moving_frame(1)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    folder.close()
    assert [child.name for child in tmp_path.iterdir()] == ["000000.png"]


def test_a_reader_of_standard_output_that_has_gone_is_a_sink_error_without_a_traceback() -> None:
    with child(
        """
        from written import moving_frame, output_of
        from rtseg.errors import SinkError
        from rtseg.sinks.records import Records
        sink = Records("-")
        try:
            for i in range(100_000):
                sink.write(output_of(moving_frame(i)))
        except SinkError as error:
            raise SystemExit(f"{error}")
        """
    ) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.readline()
        writer.stdout.close()
        assert writer.stderr.read() == "cannot write to standard output: Broken pipe\n"
    assert writer.returncode == 1


@pytest.mark.parametrize("make", [VideoWriter, Records])
def test_a_folder_that_is_missing_or_a_name_that_is_a_folder_is_refused(
    tmp_path: Path, make: type[VideoWriter | Records]
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    for name, message in (("no/out.mp4", "does not exist: make it first"), ("folder.mp4", "is a folder")):
        with pytest.raises(SinkError, match=message):
            make(tmp_path / name)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for make in (ImageFolder, MaskFolder):
        with pytest.raises(SinkError, match="cannot write"):
            make(tmp_path / "file")


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_pipe_is_written_as_it_is(tmp_path: Path, ending: str) -> None:
    pipe = tmp_path / f"out.{ending}"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with VideoWriter(pipe, codec=FAST, info=StreamInfo("x")) as sink:
        for i in range(40):
            sink.write(output_of(moving_frame(i)))
    reader.join(20)
    copy = tmp_path / f"copy.{ending}"
    copy.write_bytes(read[0])
    assert len(decode(copy)) == 40
    assert pipe.is_fifo()
