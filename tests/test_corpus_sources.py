"""Every odd, broken and hostile file of the corpus, through the sources alone, in children with limits."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from corpus import held_addresses

from rtseg.errors import RtsegError
from rtseg.sources.images import SUFFIXES, ImageFiles
from rtseg.sources.video import VideoFile
from rtseg.stats import LOSSES

MEMORY = 3 << 30
SECONDS = 20
FRAMES = 30
JOBS = 2
# The program refuses these by itself; what FFmpeg says of them is not of interest.
NO_MEDIA = {".txt", ".html", ".onnx"}


class End(NamedTuple):
    """How a file ended: "done", "partial", or what is wrong; frames: how many it gave."""

    file: str
    end: str
    frames: int = 0


def media(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SOURCE.txt")


def open_and_read(path: Path) -> tuple[str, int, dict[str, int]]:
    frames, times = 0, [-(2**63)]
    try:
        source = ImageFiles([path]) if path.suffix.lower() in SUFFIXES else VideoFile(path)
        for frame in source:
            frames += 1
            assert frame.pts > times[-1]
            times.append(frame.pts)
            if frames == FRAMES or frames * frame.planes[0].size > 12_000_000:
                break
        source.close()
    except RtsegError as error:
        return type(error).__name__ if path.name in str(error) else f"does not name the file: {error}", frames, {}
    losses = {cause: number for cause, number in source.counts.items() if cause in LOSSES and number}
    return "partial" if losses else "done", frames, losses


def child(files: Sequence[Path], pipe: int) -> NoReturn:
    """Reads files one after the other and says so before and after each."""
    try:
        limit = held_addresses() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for path in files:
            signal.alarm(SECONDS)  # kills: a hang is in FFmpeg, where Python's handlers do not run
            try:
                result = open_and_read(path)
            except BaseException as error:  # whatever it is, it is to be reported
                result = (f"raised {type(error).__name__}: {error}", 0, {})
            os.write(pipe, json.dumps(result).encode() + b"\n")
    finally:
        os._exit(0)


def run(files: Sequence[Path]) -> Iterator[End]:
    """One child after another, each beginning after the file that ended the one before."""
    left = list(files)
    while left:
        reader, writer = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(reader)
            child(left, writer)
        os.close(writer)
        with os.fdopen(reader) as lines:
            for line in lines:
                end, frames, _ = json.loads(line)
                yield End(str(left.pop(0)), end, frames)
        _, status = os.waitpid(process, 0)
        if left:
            yield End(str(left.pop(0)), f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "vanished")


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.parametrize("job", range(JOBS))
def test_every_file_ends_as_done_partial_or_refused(job: int, shared: Path) -> None:
    files = media(shared / "corpus")[job::JOBS]
    started = time.monotonic()
    ends = list(run(files))
    assert len(ends) == len(files) > 100
    wrong = [end for end in ends if end.end not in ("done", "partial", "SourceUnreadable", "SourceTooLarge")]
    assert not wrong
    assert all(end.frames for end in ends if end.end in ("done", "partial"))
    number = Counter(end.end for end in ends)
    assert number["done"] > 50, number
    assert number["SourceUnreadable"] > 40, number
    assert time.monotonic() - started < 250


@pytest.mark.parametrize(
    ("name", "frames", "losses"),
    [
        ("androidx-media/mp4/sample_with_invalid_nalu.mp4", 29, {"corrupt_packets": 1}),
        ("androidx-media/mp4/iibbibb_editlist_videoonly.mp4", 12, {}),
        ("androidx-media/avi/sample-with-large-length.avi", 58, {}),
        ("androidx-media/mp4/sample_android_slow_motion.mp4", 7, {}),
        ("openh264-res/res/SVA_Base_B.264", 17, {}),
    ],
)
def test_known_files_give_what_they_hold(name: str, frames: int, losses: dict[str, int], shared: Path) -> None:
    """Edit lists leave frames out and headers name a wrong number of frames: neither is a loss."""
    source = VideoFile(shared / "corpus" / name)
    assert len(list(source)) == frames
    assert {cause: number for cause, number in source.counts.items() if cause in LOSSES} == losses


def test_text_is_no_video(shared: Path) -> None:
    for path in media(shared / "corpus"):
        if path.suffix in NO_MEDIA:
            assert open_and_read(path)[0] == "SourceUnreadable", path
