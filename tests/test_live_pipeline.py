"""What leaves a live pipeline: composites, or slates; never the room after any fault."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from fakes import SquareSegmenter
from room import PERSON, in_a_room, shows_room

from rtseg import store
from rtseg.errors import ConfigError, InferenceFailed, ModelNotFound
from rtseg.live.ladder import Ladder, Rung
from rtseg.live.pipeline import LivePipeline, Network, mirrored
from rtseg.live.scene import Scene
from rtseg.pipeline import Pipeline
from rtseg.types import Frame, Layer, Observation, Output, Regions, Segmentation, Size

GREEN = "#00ff00"


def network(segmenter: object | None = None, **options: int) -> Callable[[str | None], Network]:
    """Opens a network whose person is the left half of every frame."""
    card = store.find_card("portrait")
    return lambda _name: Network(card, Pipeline(segmenter or SquareSegmenter(), hold=0, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("background", [GREEN, "blur:4"])
def test_a_hidden_room_is_painted_over(background: str) -> None:
    pipeline = LivePipeline(network(), Scene(background=background))
    output = pipeline(in_a_room())
    assert output is not None
    assert output.picture.planes[0][:, :24].mean() == pytest.approx(PERSON, abs=1)
    if background == GREEN:  # the blur of a red wall is that red
        assert not shows_room(output)


def test_without_a_background_the_picture_stays_as_it_is() -> None:
    frame = in_a_room()
    output = LivePipeline(network(), Scene())(frame)
    assert output is not None
    assert output.picture is frame


class Faulty(SquareSegmenter):
    """Does on given frames what a broken segmenter would."""

    def __init__(self, fault: Callable[[Frame, Segmentation], Segmentation], *, frames: Sequence[int]) -> None:
        super().__init__()
        self._fault, self._frames = fault, frames

    def __call__(self, frame: Frame) -> Segmentation:
        made = super().__call__(frame)
        return self._fault(frame, made) if frame.index in self._frames else made


def raise_engine_error(_frame: Frame, _made: Segmentation) -> Segmentation:
    raise InferenceFailed("the device is gone")


def raise_anything(_frame: Frame, _made: Segmentation) -> Segmentation:
    raise ZeroDivisionError("a bug")


def stale(frame: Frame, made: Segmentation) -> Segmentation:
    """The mask of an earlier frame, where everything was a person."""
    return Regions(np.full((1, 4, 8), 255, np.uint8), made.names, frame.pts - 3000, frame.size)


def of_another_size(frame: Frame, made: Segmentation) -> Segmentation:
    return replace(made, size=Size(frame.size.width * 2, frame.size.height))


@pytest.mark.parametrize("fault", [raise_engine_error, raise_anything, stale, of_another_size])
@pytest.mark.parametrize("frames", [range(1), range(3, 6), range(100)], ids=["start", "middle", "always"])
def test_no_fault_of_a_segmenter_shows_the_room(
    fault: Callable[[Frame, Segmentation], Segmentation], frames: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtseg.live.pipeline._AGAIN", 0.0)
    pipeline = LivePipeline(network(Faulty(fault, frames=frames)), Scene(background=GREEN))
    outputs = [pipeline(in_a_room(index)) for index in range(12)]
    assert all(output is not None and not shows_room(output) for output in outputs)
    assert (pipeline.failure is None) == (len(frames) < 12 or fault is not raise_anything)


def test_after_a_fault_the_picture_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtseg.live.pipeline._AGAIN", 0.0)
    pipeline = LivePipeline(network(Faulty(raise_anything, frames=(1,))), Scene(background=GREEN))
    first, failed, after = (pipeline(in_a_room(index)) for index in range(3))
    assert first is not None
    assert failed is not None
    assert after is not None
    assert failed.held
    assert (failed.picture.planes[1] == 128).all()  # a slate
    np.testing.assert_array_equal(after.picture.planes[0], first.picture.planes[0])


def test_between_two_tries_there_are_slates_and_the_network_rests() -> None:
    segmenter = Faulty(raise_anything, frames=range(100))
    pipeline = LivePipeline(network(segmenter), Scene(background=GREEN))
    before = time.monotonic()
    outputs = [pipeline(in_a_room(index)) for index in range(5)]
    assert time.monotonic() - before < 1
    assert all(output is not None and output.held for output in outputs)
    assert pipeline.failure == "a bug"


class PaintsNothing:
    """An effect with a bug."""

    def __call__(self, _frame: Frame, _result: Segmentation, _seen: Sequence[Observation], /) -> Sequence[Layer]:
        return ()


def test_an_effect_that_paints_nothing_does_not_show_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtseg.live.pipeline.scene_effects", lambda _scene, _card: (PaintsNothing(),))
    output = LivePipeline(network(), Scene(background=GREEN))(in_a_room())
    assert output is not None
    assert not shows_room(output)


def test_another_size_and_another_epoch_show_no_room() -> None:
    pipeline = LivePipeline(network(), Scene(background=GREEN))
    frames = [in_a_room(0), in_a_room(1, size=(48, 80), epoch=1), in_a_room(2, size=(161, 121), epoch=2)]
    outputs = [pipeline(frame) for frame in frames]
    assert [output.picture.size for output in outputs if output] == [frame.size for frame in frames]
    assert not any(shows_room(output) for output in outputs if output)


def test_a_frame_that_waited_too_long_is_left_out() -> None:
    pipeline = LivePipeline(network(), Scene(background=GREEN))
    assert pipeline(replace(in_a_room(), arrived=time.monotonic() - 1)) is None


def test_a_slate_shows_nobody_and_spares_the_network() -> None:
    segmenter = Faulty(raise_anything, frames=range(100))
    output = LivePipeline(network(segmenter), Scene(background=GREEN, slate=True))(in_a_room())
    assert output is not None
    assert not output.inferred
    assert (output.picture.planes[1] == 128).all()
    assert (output.picture.planes[0] != PERSON).any()


def test_a_frozen_picture_stands_whatever_comes() -> None:
    pipeline = LivePipeline(network(), Scene(background=GREEN))
    first = pipeline(in_a_room(0))
    pipeline.change(pipeline.scene.changed({"frozen": True}))
    later = [pipeline(frame) for frame in (in_a_room(1), in_a_room(2, size=(48, 80)))]
    assert first is not None
    for output in later:
        assert output is not None
        assert output.picture.planes[0] is first.picture.planes[0]
    assert later[0] is not None
    assert later[0].picture.pts == 3000


class Small(SquareSegmenter):
    """The person is a quarter of the frame's sides, at the left."""

    def __call__(self, frame: Frame) -> Segmentation:
        mask = np.zeros((1, 36, 64), np.uint8)
        left = 44 if int(frame.planes[0][0, 0]) == 200 else 4  # in a mirror the wall is left
        mask[0, 14:23, left : left + 16] = 255
        return Regions(mask, ("person",), frame.pts, frame.size)


def window_of(output: Output | None) -> tuple[float, ...]:
    assert output is not None
    assert output.window is not None
    return output.window


def test_a_window_follows_the_subject_is_changed_while_it_runs_and_turns_with_the_mirror(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rtseg.framing._CUT", 999)  # the room is so plain that its mirror image is another scene
    pipeline = LivePipeline(network(Small()), Scene(background=GREEN, framing="body"))
    assert window_of(pipeline(in_a_room(0))) == (0, 10, 32, 28)
    pipeline.change(pipeline.scene.changed({"mirror": True}))
    assert window_of(pipeline(in_a_room(1))) == (32, 10, 64, 28)
    pipeline.change(pipeline.scene.changed({"slate": False}))  # nothing that concerns the window
    assert window_of(pipeline(in_a_room(2))) == (32, 10, 64, 28)
    pipeline.change(pipeline.scene.changed({"framing": None}))
    output = pipeline(in_a_room(3))
    assert output is not None
    assert output.window is None
    with pytest.raises(ConfigError, match="use body, head"):
        pipeline.change(pipeline.scene.changed({"framing": "tight"}))
    assert pipeline.scene.framing is None


def test_what_nobody_painted_is_not_cropped_past_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtseg.live.pipeline.scene_effects", lambda *_: ())
    pipeline = LivePipeline(network(Small()), Scene(background=GREEN, framing="body"))
    output = pipeline(in_a_room())
    assert output is not None
    assert not shows_room(output)
    assert output.picture.is_grey
    assert pipeline.failure == "the effects painted nothing"


def test_a_window_that_cannot_be_made_is_a_slate(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = LivePipeline(network(Small()), Scene(background=GREEN, framing="body"))
    pipeline(in_a_room(0))

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("rtseg.framing.crop", broken)
    output = pipeline(in_a_room(1))
    assert output is not None
    assert output.picture.is_grey
    assert pipeline.failure == "a bug"


def test_a_mirror_exchanges_left_and_right_of_every_plane() -> None:
    frame = in_a_room(size=(7, 5))
    turned = mirrored(frame)
    for plane, other in zip(frame.planes, turned.planes, strict=True):
        np.testing.assert_array_equal(other, plane[:, ::-1])


def test_a_wish_that_cannot_be_fulfilled_changes_nothing() -> None:
    pipeline = LivePipeline(network(), Scene(background=GREEN))
    with pytest.raises(ConfigError, match="no part of a scene"):
        pipeline.change(pipeline.scene.changed({"blurr": 3}))
    with pytest.raises(Exception, match=r"missing\.png"):
        pipeline.change(pipeline.scene.changed({"background": "missing.png"}))
    with pytest.raises(ConfigError, match="hides nothing"):
        pipeline.change(pipeline.scene.changed({"background": "None"}))
    with pytest.raises(ConfigError, match="no transparency"):
        pipeline.change(pipeline.scene.changed({"background": " Transparent"}))
    assert pipeline.scene == Scene(background=GREEN)
    output = pipeline(in_a_room())
    assert output is not None
    assert not shows_room(output)


def test_a_model_is_swapped_between_two_frames_and_the_old_one_closed_by_the_worker() -> None:
    closed: list[str] = []
    card = store.find_card("portrait")

    def open_network(name: str | None) -> Network:
        if name == "missing":
            raise ModelNotFound("no model 'missing'")
        return Network(card, Pipeline(SquareSegmenter(), hold=0), lambda: closed.append(name or "own"))

    pipeline = LivePipeline(open_network, Scene(background=GREEN))
    pipeline(in_a_room(0))
    with pytest.raises(ModelNotFound):
        pipeline.swap("missing")
    pipeline.swap("other")
    assert closed == []
    output = pipeline(in_a_room(1))
    assert output is not None
    assert not shows_room(output)
    assert closed == ["own"]
    pipeline.close()
    assert closed == ["own", "other"]


def test_under_load_masks_are_kept_then_the_model_is_lighter_then_every_second_frame_is_left_out() -> None:
    opened: list[str | None] = []
    cards = {None: store.find_card("portrait"), "portrait-fast": store.find_card("portrait-fast")}

    def open_network(name: str | None) -> Network:
        opened.append(name)
        return Network(cards[name], Pipeline(SquareSegmenter(), hold=0))

    ladder = Ladder()
    pipeline = LivePipeline(open_network, Scene(background=GREEN), ladder=ladder)
    ladder.rung = Rung.ADAPTIVE
    asked = [output.inferred for index in range(3) if (output := pipeline(in_a_room(index)))]
    assert asked == [True, False, False]
    ladder.rung = Rung.LIGHTER
    pipeline(in_a_room(3))
    until = time.monotonic() + 5
    while pipeline.card.name != "portrait-fast" and time.monotonic() < until:
        time.sleep(0.01)
    assert pipeline.card.name == "portrait-fast"
    ladder.rung = Rung.HALF_RATE
    assert [pipeline(in_a_room(index)) is None for index in range(4, 8)] == [True, False, True, False]
    ladder.rung = Rung.FULL
    output = pipeline(in_a_room(9))
    assert output is not None
    assert output.inferred
    assert pipeline.card.name == "portrait"
    assert opened == [None, "portrait-fast"]


class Noting(Ladder):
    """Keeps how many frames it was told were missed."""

    def __init__(self) -> None:
        super().__init__()
        self.missed: list[int] = []

    def observe(self, now: float, *, busy: float, missed: int) -> Rung:
        self.missed.append(missed)
        return super().observe(now, busy=busy, missed=missed)


def test_frames_left_out_on_purpose_are_not_missed_and_those_that_never_came_are() -> None:
    ladder = Noting()
    pipeline = LivePipeline(network(), Scene(), ladder=ladder)
    pipeline(in_a_room(0))
    pipeline.leave_out(in_a_room(1))
    pipeline(in_a_room(2))
    pipeline(in_a_room(6))
    assert ladder.missed == [0, 0, 3]


def test_the_ladder_steps_down_when_frames_are_missed_and_comes_back_slowly() -> None:
    ladder, now = Ladder(), 0.0
    rungs: list[Rung] = []
    for second in range(40):
        for _ in range(10):
            now += 0.1
            busy = 0.099 if second < 4 else 0.02
            ladder.observe(now, busy=busy, missed=0)
        rungs.append(ladder.rung)
    assert list(dict.fromkeys(rungs[:5])) == list(Rung)
    assert rungs[4] is Rung.HALF_RATE
    assert list(dict.fromkeys(rungs[5:])) == list(reversed(Rung))
    assert rungs.index(Rung.LIGHTER, 5) >= 4 + 4  # after four calm seconds


def test_a_ladder_that_swings_waits_longer_each_time() -> None:
    ladder, now = Ladder(lowest=Rung.ADAPTIVE), 0.0
    raised: list[float] = []
    before = ladder.rung
    for _ in range(3000):
        now += 0.1
        ladder.observe(now, busy=0.095 if ladder.rung is Rung.FULL else 0.03, missed=0)
        if before is Rung.ADAPTIVE and ladder.rung is Rung.FULL:
            raised.append(now)
        before = ladder.rung
    pauses = np.diff(raised)
    assert len(pauses) >= 3
    assert pauses[-1] > 3 * pauses[0]
