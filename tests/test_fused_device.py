"""Frames that stay on a device: the CPU's picture without a copy to the host, and devices that are found out."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from graphs import double
from numpy.typing import NDArray
from on_device import Doubled, OrtDevice, Overwriting, SlotDevice, Stale, on_device

from rtseg import store
from rtseg.config import ModelOptions
from rtseg.effects.background import Background
from rtseg.engines import build_segmenter
from rtseg.errors import InferenceFailed
from rtseg.filters.refine import EdgeRefine
from rtseg.filters.smooth import TemporalSmooth
from rtseg.fused_pipeline import FusedPipeline
from rtseg.inference.device_engine import OnSlots, device_engine_of
from rtseg.inference.engine import OrtEngine
from rtseg.pipeline import Pipeline
from rtseg.sources.sample import Sample
from rtseg.types import Blur, Colour, Effect, Filter, Frame, Picture, Regions

CARD = store.find_card("portrait")
SIZE = (322, 180)
"""Lines of it have padding in FFmpeg's memory."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))


def frames(count: int, **changes: Any) -> list[Frame]:
    return [
        Frame.from_rgb(frame.rgb, colour=Colour("bt601"), index=frame.index, pts=frame.pts, **changes)
        for frame in itertools.islice(Sample(seconds=2.0, size=SIZE), count)
    ]


def plain(effect: Effect | None = None, filters: tuple[Filter, ...] = ()) -> Pipeline:
    segmenter = build_segmenter(ModelOptions(name="portrait"), CARD)
    return Pipeline(segmenter, filters=filters, effects=[effect or Background(Blur())])


def filters() -> tuple[Filter, ...]:
    return TemporalSmooth(follow=False, tidy=False), EdgeRefine()


class Opener:
    """Opens engines of a kind and keeps them."""

    def __init__(self, kind: type[OrtDevice]) -> None:
        self.kind, self.opened = kind, list[OrtDevice]()

    def __call__(self, path: Path) -> OrtDevice:
        self.opened.append(self.kind(path))
        return self.opened[-1]


def test_frames_of_a_device_come_back_on_it_and_are_the_cpus() -> None:
    behind = Background(Picture(frames(1)[0]))
    for effect in (Background(Blur()), behind):
        opener = Opener(OrtDevice)
        fused = FusedPipeline(CARD, plain(effect, filters()), opener)
        on_host = FusedPipeline(CARD, plain(effect, filters()), OrtEngine)
        counts: Counter[str] = Counter()
        made = []
        for frame in frames(6):
            found, expected = fused(on_device(frame, counts)), on_host(frame)
            assert found.picture.device is not None
            assert found.picture.device.device == (1, 0)
            assert (found.picture.pts, found.picture.index, found.picture.size) == (frame.pts, frame.index, SIZE)
            assert isinstance(found.segmentation, Regions)
            assert isinstance(expected.segmentation, Regions)
            np.testing.assert_array_equal(found.segmentation.probabilities, expected.segmentation.probabilities)
            made.append((found.picture, expected.picture))
        assert not counts, "a frame was brought to the host"
        assert not fused.counts
        for found_picture, expected_picture in made:  # looked at last, as an encoder that is late does
            for plane, wanted in zip(found_picture.planes, expected_picture.planes, strict=True):
                np.testing.assert_array_equal(plane, wanted)
        assert fused.counts == {"downloaded": 6}
        (engine,) = opener.opened
        assert engine.ports["y"][0] == (180, 336)
        assert engine.uploads == Counter(
            {
                "known": 6,
                "past_masks": 1,
                "past_luma": 1,
                **({"picture0_y": 1, "picture0_uv": 1} if effect is behind else {}),
            }
        ), "the past or a still picture was uploaded again"


def test_an_engine_of_two_slots_keeps_pictures_whole_for_encoders_that_are_late() -> None:
    gates: list[str] = []

    @contextlib.contextmanager
    def gate() -> Iterator[None]:
        gates.append("in")
        yield
        gates.append("out")

    engines: list[SlotDevice] = []

    def open_engine(path: Path) -> Any:
        engines.append(SlotDevice(path))
        engines[-1].gate = gate
        return engines[-1]

    behind = Background(Picture(frames(1)[0]))
    fused = FusedPipeline(CARD, plain(behind, filters()), open_engine, reference=OrtEngine)
    on_host = FusedPipeline(CARD, plain(behind, filters()), OrtEngine)
    made = [(fused(on_device(frame)).picture, on_host(frame).picture) for frame in frames(6)]
    for found, expected in made:
        for plane, wanted in zip(found.planes, expected.planes, strict=True):
            np.testing.assert_array_equal(plane, wanted)
    assert fused.counts == {"downloaded": 6}
    assert not engines[0].uploads, "the past or a still picture went over the bus again"
    assert gates[::2] == ["in"] * (len(gates) // 2)
    assert gates[1::2] == ["out"] * (len(gates) // 2)


def test_an_engine_with_slots_is_recognised(tmp_path: Path) -> None:
    class Elsewhere:
        memory = ("dml", 0)
        inputs: ClassVar[dict[str, Any]] = {}

        def run_on(self, values: Any, /) -> Any:
            raise NotImplementedError

    assert isinstance(device_engine_of(SlotDevice(double(tmp_path / "double.onnx"))), OnSlots)
    assert device_engine_of(Elsewhere()) is None
    assert device_engine_of(object()) is None


def test_a_copy_that_fails_on_the_device_is_a_failure_of_the_engine(tmp_path: Path) -> None:
    engine = OnSlots(SlotDevice(double(tmp_path / "double.onnx")))
    with pytest.raises(InferenceFailed, match=r"a copy on the device \(1, 0\) failed"):
        engine.compute({"x": np.zeros((1, 2, 3, 5), np.float32)})


def test_another_epoch_forgets_the_past_on_the_device() -> None:
    fused = FusedPipeline(CARD, plain(filters=filters()), Opener(OrtDevice))
    (first,), second = frames(1), frames(9)[8]
    alone = fused(on_device(second)).picture.planes[0]
    fused(on_device(first))
    remembered = fused(on_device(second)).picture.planes[0]
    forgotten = fused(on_device(frames(9, epoch=1)[8])).picture.planes[0]
    np.testing.assert_array_equal(forgotten, alone)
    assert (remembered != alone).any()


@pytest.mark.parametrize("kind", [OrtDevice, Overwriting, Doubled, Stale])
def test_a_device_that_overwrites_or_repeats_a_picture_is_left_loudly(
    kind: type[OrtDevice], caplog: pytest.LogCaptureFixture
) -> None:
    opened: list[Any] = []

    def open_engine(path: Path) -> Any:
        opened.append(kind(path) if not opened else OrtEngine(path))  # the second is for planes on the host
        return opened[-1]

    fused = FusedPipeline(CARD, plain(), open_engine, reference=OrtEngine)
    stands_for = plain()
    held = [(fused(on_device(frame)), stands_for(frame)) for frame in frames(5)]
    for found, expected in held:
        for plane, wanted in zip(found.picture.planes, expected.picture.planes, strict=True):
            assert int(np.abs(plane.astype(int) - wanted).max()) <= 2
    if kind is OrtDevice:
        assert fused.counts == {"downloaded": 5}
        assert not caplog.records
        return
    assert fused.counts == {"host_graph": 5}
    assert "the device gave another picture than the CPU in test frame" in caplog.text
    assert "frames of 322x180 leave the device" in caplog.text
    assert len(caplog.records) == 1


class OnHostOnly:
    """An engine without memory of a device."""

    def __init__(self, path: Path) -> None:
        engine = OrtEngine(path)
        self.inputs, self.run, self.providers, self._call = engine.inputs, engine.run, engine.providers, engine

    def __call__(self, inputs: Mapping[str, NDArray[Any]], /) -> Mapping[str, NDArray[Any]]:
        return self._call(inputs)


def test_an_engine_that_knows_no_device_gets_planes_on_the_host(caplog: pytest.LogCaptureFixture) -> None:
    counts: Counter[str] = Counter()
    fused, on_host = FusedPipeline(CARD, plain(), OnHostOnly), FusedPipeline(CARD, plain(), OrtEngine)
    for frame in frames(3):
        found = fused(on_device(frame, counts))
        np.testing.assert_array_equal(found.picture.planes[0], on_host(frame).picture.planes[0])
        assert found.picture.device is None
    assert fused.counts == {"host_graph": 3}
    assert counts == {"downloaded": 3}
    assert caplog.text.count("leave the device: the network's engine cannot take them from (1, 0)") == 1


def test_a_frame_that_fails_on_the_device_is_made_on_the_host_and_the_past_forgotten() -> None:
    class Failing(OrtDevice):
        def compute(self, inputs: Any, /) -> Any:
            if len(self.given) == 1:
                self.given.append(set())
                raise InferenceFailed("out of memory on the device")
            return super().compute(inputs)

    opener = Opener(Failing)
    behind = Background(Picture(frames(1)[0]))
    fused = FusedPipeline(CARD, plain(behind, filters()), opener)
    for frame in frames(3):
        found, expected = fused(on_device(frame)), plain(behind, filters())(frame)
        if frame.index == 2:  # has no past, like the expected one
            difference = np.abs(found.picture.planes[0].astype(int) - expected.picture.planes[0])
            assert int(difference.max()) <= 2
    assert fused.counts["failed"] == 1
    assert opener.opened[0].given[2] >= {"picture0_y", "past_masks"}, "what a failed run held is given again"


def test_a_network_that_gives_infinity_on_the_device_is_found_out() -> None:
    class Infinite(OrtDevice):
        def compute(self, inputs: Any, /) -> Any:
            outputs: dict[str, Any] = dict(super().compute(inputs))
            outputs["sums"].update_inplace(np.array([np.inf], np.float32))
            return outputs

    fused = FusedPipeline(CARD, plain(), Opener(Infinite))
    (frame,) = frames(1)
    np.testing.assert_array_equal(fused(on_device(frame)).picture.planes[0], plain()(frame).picture.planes[0])
    assert fused.counts["failed"] == 1
