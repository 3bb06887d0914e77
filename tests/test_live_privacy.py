"""Every frame that left, while everything fails that can: none shows the room."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import numpy as np
import pytest
from fakes import SquareSegmenter
from room import Tap, in_a_room, shows_room, until

from rtseg import store
from rtseg.errors import InferenceFailed, InferenceTimeout, ModelNotFound, SinkError
from rtseg.live.ladder import Rung
from rtseg.live.paced import Paced
from rtseg.live.pipeline import LivePipeline, Network
from rtseg.live.scene import Scene
from rtseg.live.stream import LiveStream
from rtseg.pipeline import Pipeline
from rtseg.types import Frame, Output, Regions, Segmentation

GREEN = "#00ff00"
FAULTS = ("none", "none", "fails", "late", "bug", "stale", "size", "slow", "memory", "names")


class Everything(SquareSegmenter):
    """Does anything that a segmenter may do wrong, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self.faults: list[str] = []

    def __call__(self, frame: Frame) -> Segmentation:
        made = super().__call__(frame)
        assert isinstance(made, Regions)
        fault = self._random.choice(FAULTS)
        self.faults.append(fault)
        match fault:
            case "fails":
                raise InferenceFailed("the session raised")
            case "late":
                raise InferenceTimeout("the watchdog ended a run")
            case "bug":
                raise IndexError("a bug")
            case "memory":
                raise MemoryError
            case "stale":
                return replace(made, probabilities=np.full((1, 4, 8), 255, np.uint8), pts=frame.pts - 3000)
            case "size":
                return replace(made, size=type(frame.size)(frame.size.width + 2, frame.size.height))
            case "names":
                return replace(made, names=("somebody",))
            case "slow":
                time.sleep(0.02)
        return made


def flickering(frame: Frame) -> Frame:
    """The frame in a light that changes, so that no earlier mask is kept for it."""
    luma = frame.planes[0] - np.uint8(40 * (frame.index % 3))
    return replace(frame, planes=(luma, *frame.planes[1:]))


class Gate:
    """A sink that looks at every picture, and fails now and then."""

    def __init__(self, seen: list[bool], chance: random.Random) -> None:
        self._seen, self._chance = seen, chance

    def write(self, output: Output) -> None:
        assert output.frame is output.picture
        self._seen.append(shows_room(output))
        if self._chance.random() < 0.01:
            raise SinkError("the other end is gone")

    def close(self) -> None:
        return None


@pytest.mark.parametrize("seed", range(4))
def test_no_picture_that_leaves_shows_the_room_whatever_fails(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtseg.live.pipeline._AGAIN", 0.01)
    monkeypatch.setattr("rtseg.live.paced._FIRST", 0.01)
    chance = random.Random(seed)
    card = store.find_card("portrait")
    segmenters: list[Everything] = []

    def open_network(name: str | None) -> Network:
        if name == "missing":
            raise ModelNotFound("no model of that name")
        segmenters.append(Everything(seed + len(segmenters)))
        return Network(card, Pipeline(segmenters[-1], hold=0, give_up=3))

    seen: list[bool] = []
    tap = Tap()
    pipeline = LivePipeline(open_network, Scene(background=GREEN))
    gates = {name: Paced(lambda _size: Gate(seen, chance), name=name, keep=0.01, hold=0.05) for name in ("one", "two")}
    stream = LiveStream(tap, pipeline, gates)
    size, epoch = (64, 36), 0
    for index in range(400):
        match chance.randrange(40):
            case 0:
                size, epoch = chance.choice([(64, 36), (48, 80), (161, 121), (320, 180)]), epoch + 1
            case 1:
                stream.swap("other")
            case 2:
                with pytest.raises(ModelNotFound):
                    stream.swap("missing")
            case 3:
                stream.change(background=chance.choice([GREEN, "#0000ff", "#00ff01"]))
            case 4:
                stream.change(slate=not stream.scene.slate)
            case 5:
                stream.change(frozen=not stream.scene.frozen)
            case 6:
                pipeline.ladder.rung = chance.choice(list(Rung))
            case 7:
                time.sleep(0.08)  # the source is away for longer than a picture stands
            case 8:
                tap.give(replace(in_a_room(index, size=size, epoch=epoch), arrived=time.monotonic() - 2))
        tap.give(flickering(in_a_room(index, size=size, epoch=epoch)))
        time.sleep(0.002)
    until(lambda: stream.status().frames_in >= 400)
    stream.close()
    assert len(seen) > 100  # sinks take the newest picture: how many there are is the machine's business
    assert seen.count(True) == 0
    assert len({fault for segmenter in segmenters for fault in segmenter.faults}) > 4


def test_the_check_would_see_a_room() -> None:
    """The test above is worth something only if it fails where a room shows."""
    seen: list[bool] = []
    tap = Tap()
    card = store.find_card("portrait")
    pipeline = LivePipeline(lambda _name: Network(card, Pipeline(SquareSegmenter(), hold=0)), Scene())
    stream = LiveStream(tap, pipeline, {"out": Paced(lambda _size: Gate(seen, random.Random(0)), name="out")})
    tap.give(in_a_room())
    until(lambda: seen)
    stream.close()
    assert seen[0]
