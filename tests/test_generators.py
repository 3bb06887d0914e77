"""`rtseg.stream` and `rtseg.astream`: every frame of a file, the newest of a camera, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import ListSource, plain_frame
from footage import moving, open_files, write_video

import rtseg
from rtseg.types import Frame

SAMPLE = rtseg.parse_config({"source": {"type": "sample", "seconds": 0.3, "size": [160, 90], "rate": 30}})
PLAIN: dict[str, Any] = {"filters": "none"}


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    assert not threads()


def threads() -> list[str]:
    """Ours that run, but the watchdog, which is the process's."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("rtseg") and name != "rtseg-watchdog"]


def clip(tmp_path: Path, count: int = 9) -> Path:
    return write_video(tmp_path / "clip.mp4", moving(count))


class Waiting(ListSource):
    """A live source that stalls after its frames until it is closed."""

    def __init__(self, frames: list[Frame]) -> None:
        super().__init__(frames, live=True)
        self.ended = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        yield from super().__iter__()
        assert self.ended.wait(10), "nobody closed the source"

    def close(self) -> None:
        self.ended.set()


def test_a_file_gives_every_frame_with_its_effects() -> None:
    outputs = list(rtseg.stream(config=SAMPLE, background="#00ff00"))
    assert [output.frame.index for output in outputs] == list(range(9))
    pipeline = rtseg.load_pipeline(background="#00ff00")
    for output in outputs:
        for plane, wanted in zip(output.picture.planes, pipeline(output.frame).picture.planes, strict=True):
            np.testing.assert_array_equal(plane, wanted)


def test_without_effects_the_picture_is_the_frame_itself(tmp_path: Path) -> None:
    outputs = list(rtseg.stream(clip(tmp_path), **PLAIN))
    assert len(outputs) == 9
    assert all(output.picture is output.frame for output in outputs)


def test_what_a_file_names_as_sinks_is_not_written(tmp_path: Path) -> None:
    written = tmp_path / "out.mp4"
    config = rtseg.parse_config(
        {"source": SAMPLE.source.model_dump(), "sinks": [{"type": "video", "path": str(written)}]}  # type: ignore[union-attr]
    )
    assert len(list(rtseg.stream(config=config, **PLAIN))) == 9
    assert not written.exists()


def test_a_cut_is_made_as_by_run(tmp_path: Path) -> None:
    times = [output.frame.time for output in rtseg.stream(clip(tmp_path, 30), start=0.5, end=0.7, **PLAIN)]
    assert times == pytest.approx([0.5 + index / 30 for index in range(6)])


def test_leaving_the_loop_gives_everything_back(tmp_path: Path) -> None:
    path, before = clip(tmp_path, 30), open_files()
    for _ in rtseg.stream(path, **PLAIN):
        break
    assert open_files() == before
    assert not threads()


def test_a_loop_on_a_source_that_stalls_can_be_closed_from_outside() -> None:
    source = Waiting([plain_frame(0)])
    outputs = rtseg.stream(source, **PLAIN)
    assert next(outputs).frame.index == 0
    started = time.monotonic()
    outputs.close()
    assert source.ended.is_set()
    assert time.monotonic() - started < 1


def test_a_live_source_gives_the_newest_frame_to_a_slow_loop() -> None:
    source = ListSource([plain_frame(index) for index in range(40)], live=True, delay=0.005)
    seen = []
    for output in rtseg.stream(source, **PLAIN):
        seen.append(output.frame.index)
        time.sleep(0.06)
    assert seen == sorted(seen)
    assert len(seen) < 12
    assert seen[-1] == 39


def test_a_policy_goes_before_what_the_source_is() -> None:
    source = ListSource([plain_frame(index) for index in range(12)], live=True)
    seen = []
    for output in rtseg.stream(source, policy="block", **PLAIN):
        seen.append(output.frame.index)
        time.sleep(0.005)
    assert seen == list(range(12))


def test_a_file_waits_for_a_slow_loop() -> None:
    given: list[int] = []

    class Counting(ListSource):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                given.append(frame.index)
                yield frame

    outputs = rtseg.stream(Counting([plain_frame(index) for index in range(40)]), **PLAIN)
    next(outputs)
    time.sleep(0.1)
    assert len(given) == 1 + 4 + 1  # in the loop, in the queue, in the reader's hand
    outputs.close()


def test_errors_come_into_the_loop_after_the_frames_before_them() -> None:
    source = ListSource([plain_frame(index) for index in range(3)], error=rtseg.SourceError("the cable is out"))
    seen: list[Frame] = []
    with pytest.raises(rtseg.SourceError, match="the cable is out"):
        seen.extend(output.frame for output in rtseg.stream(source, **PLAIN))
    assert [frame.index for frame in seen] == [0, 1, 2]
    assert source.closed_in


def test_wrong_options_are_said_at_the_call_and_missing_files_in_the_loop() -> None:
    with pytest.raises(rtseg.ConfigError, match="nothing to read"):
        rtseg.stream()
    with pytest.raises(rtseg.ConfigError, match="start and end cut videos"):
        rtseg.stream("sample", start=1.0)
    missing = rtseg.stream("missing.mp4")
    with pytest.raises(rtseg.SourceError, match=r"missing\.mp4"):
        next(missing)


def test_a_source_of_ones_own_is_closed_where_the_model_is_not_there() -> None:
    source = ListSource([plain_frame()])
    with pytest.raises(rtseg.ModelError, match="did you mean portrait"):
        next(rtseg.stream(source, model="portait"))
    assert source.closed_in


def test_asyncio_gets_the_same_frames_while_its_loop_goes_on(tmp_path: Path) -> None:
    async def collect() -> tuple[list[int], int]:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(turn())
        indices = [output.frame.index async for output in rtseg.astream(clip(tmp_path), **PLAIN)]
        beside.cancel()
        return indices, turns

    indices, turns = asyncio.run(collect())
    assert indices == list(range(9))
    assert turns > 9


def test_breaking_out_of_an_asyncio_loop_leaves_no_thread(tmp_path: Path) -> None:
    path, before = clip(tmp_path, 30), open_files()

    async def first() -> None:
        async with contextlib.aclosing(rtseg.astream(path, **PLAIN)) as outputs:
            async for output in outputs:
                assert output.frame.index == 0
                break
        assert not threads()
        async for output in rtseg.astream(path, **PLAIN):
            assert output.frame.index == 0
            break

    asyncio.run(first())
    assert open_files() == before


def test_a_cancelled_task_ends_at_once_though_no_frame_comes() -> None:
    source = Waiting([plain_frame(0)])

    async def cancel() -> None:
        arrived = asyncio.Event()

        async def consume() -> None:
            async for _ in rtseg.astream(source, **PLAIN):
                arrived.set()

        task = asyncio.create_task(consume())
        await asyncio.wait_for(arrived.wait(), 10)
        await asyncio.sleep(0.02)
        task.cancel()
        started = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.1)  # the generator's own end is the event loop's, in its next rounds
        assert source.ended.is_set()
        assert time.monotonic() - started < 1

    asyncio.run(cancel())


def test_errors_reach_an_asyncio_loop() -> None:
    async def fail() -> None:
        source = ListSource([plain_frame()], error=rtseg.SourceError("the cable is out"))
        async for _ in rtseg.astream(source, **PLAIN):
            pass

    with pytest.raises(rtseg.SourceError, match="the cable is out"):
        asyncio.run(fail())
