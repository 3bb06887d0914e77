"""A pipeline whose frames are made by one graph each: made, tested against the CPU, kept, and left when it fails."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import onnx
from numpy.typing import NDArray

from rtseg import store
from rtseg.cards import Card
from rtseg.errors import ConfigError, EngineError, ModelRejected
from rtseg.filters.refine import EdgeRefine
from rtseg.filters.smooth import TemporalSmooth
from rtseg.fused import Layout, fuse
from rtseg.fused_device import ALIKE, DeviceGraph, check_on_device, share_alike
from rtseg.inference.device_engine import OnHost, device_engine_of
from rtseg.ops.arrays import U8
from rtseg.pipeline import Pipeline, observe
from rtseg.segmenters import BoundEngine
from rtseg.types import Effect, Frame, GraphLayer, Output, Picture, Regions, Segmentation, Semantic

log = logging.getLogger(__name__)

Opener = Callable[[Path], BoundEngine]

G = TypeVar("G")

FORMAT = 3
"""Of the graphs that are kept: another number when `rtseg.fused` says the same layers in another way."""
_GIVE_UP = 3


@runtime_checkable
class Fusable(Protocol):
    """An effect that can say its layers as data."""

    def graph_layers(self, card: Card, /) -> Sequence[GraphLayer]:
        """The layers, bottom first; ConfigError for what no graph paints."""
        ...


class FusedPipeline:
    """`Pipeline`'s contract with everything from planes to planes in one ONNX graph, for accelerators.

    plain: the pipeline that it stands for, whose filters, effects, analyzers and framing it takes over, and which makes
    the frames that no graph can: of odd sides, of other subsampling than 4:2:0, or after failures. open_engine: a
    graph's file to an engine on the device; cautious: the same without CUDA graphs, tried where the first fails;
    reference: the same on the CPU, for the test at the start. Smoothing is without optical flow.

    Frames `on_device` stay there where `open_engine` gives an engine of the same device (`device_engine_of`): planes
    are copied on it alone, and pictures come back `on_device`. Otherwise their planes are brought to the host first,
    which `counts` as "host_graph".

    A graph is made for each size and colour that comes, kept in the cache folder under a hash of all that is in it,
    and **tested with two different frames in succession** against the CPU before its first use, since devices have
    given the frame before once more. What fails the test or three runs in a row is left for `plain`, with a warning;
    `counts` says how often. Raises ConfigError for filters and effects that no graph can hold.
    """

    def __init__(
        self,
        card: Card,
        plain: Pipeline,
        open_engine: Opener,
        *,
        cautious: Opener | None = None,
        reference: Opener | None = None,
    ) -> None:
        self.plain = plain
        self.counts: Counter[str] = Counter()
        self._card, self._reference = card, reference
        self._openers = [open_engine] if cautious is None else [open_engine, cautious]
        kinds = [type(stage) for stage in plain.filters]
        self._steady, self._refine = TemporalSmooth in kinds, EdgeRefine in kinds
        if others := [kind for kind in kinds if kind not in (TemporalSmooth, EdgeRefine)]:
            raise ConfigError(f"the filter {others[0].__name__} cannot be fused: leave it out, or run unfused")
        if card.family not in ("regions", "semantic"):
            raise ConfigError(f"models of the family {card.family!r} are not fused yet: run {card.name!r} unfused")
        self._layers = [layer for effect in plain.effects for layer in _layers_of(effect, card)]
        self._graphs: dict[object, _Graph | DeviceGraph | None] = {}
        self._failures = 0
        self._epoch: int | None = None

    def __call__(self, frame: Frame) -> Output:
        """Take one frame all the way."""
        if self._epoch != frame.epoch:
            if self._epoch is not None:
                self.reset()
            self._epoch = frame.epoch
        graph = self._graph_for(frame)
        if graph is None:
            self.counts["unfused"] += 1
            return self.plain(frame)
        started = time.perf_counter()
        try:
            picture, masks = graph(frame, [p for e in self.plain.effects for p in _pictures(e, frame)], self.counts)
        except EngineError as error:
            return self._failed(frame, graph, error)
        self._failures = 0
        segmentation = self._segmentation(masks, frame)
        observations = observe(self.plain.analyzers, frame, segmentation)
        took = {"segment": (time.perf_counter() - started) * 1e3}
        output = Output(frame, segmentation, observations, picture if self._layers else frame, took)
        return output if self.plain.framing is None else self.plain.framing(output)

    def _segmentation(self, masks: U8, frame: Frame) -> Segmentation:
        """What the masks, one a name, are for a model of this family."""
        if self._card.family == "regions":
            return Regions(masks, self._card.names, frame.pts, frame.size)
        labels = masks.argmax(axis=0).astype(np.uint8 if len(masks) <= 255 else np.uint16)
        return Semantic(labels, self._card.names, frame.pts, frame.size)

    def reset(self) -> None:
        """Forget everything learnt from earlier frames."""
        self.plain.reset()
        for graph in self._graphs.values():
            if graph is not None:
                graph.reset()

    def _failed(self, frame: Frame, graph: _Graph | DeviceGraph, error: EngineError) -> Output:
        self._failures += 1
        self.counts["failed"] += 1
        graph.reset()
        if self._failures >= _GIVE_UP:
            log.warning(
                "the fused graph is left for the usual way after %d failures in a row: %s", self._failures, error
            )
            self._graphs = dict.fromkeys(self._graphs)
        elif self._failures == 1:
            log.warning("the fused graph failed on frame %d, which is made the usual way: %s", frame.index, error)
        return self.plain(frame)

    def _graph_for(self, frame: Frame) -> _Graph | DeviceGraph | None:
        kind = (frame.size, frame.colour)
        if (picture := frame.device) is not None:
            key: object = (*kind, picture.device, picture.pitch)
            if key not in self._graphs:
                self._graphs[key] = self._made_on_device(frame) if self._failures < _GIVE_UP else None
            if (graph := self._graphs[key]) is not None:
                return graph
            self.counts["host_graph"] += 1
        key = (*kind, frame.chroma_size, frame.device is not None or frame.alpha is None)
        if key not in self._graphs:
            self._graphs[key] = self._made(frame) if self._failures < _GIVE_UP else None
        return self._graphs[key]

    def _made(self, frame: Frame) -> _Graph | None:
        def make(path: Path, open_engine: Opener) -> _Graph:
            graph = _Graph(open_engine(path))
            if self._reference is not None:
                check_twice(graph, _Graph(self._reference(path)), frame)
            return graph

        try:
            return self._first_good(self._kept(frame), make)
        except (ModelRejected, EngineError) as error:
            log.warning("frames of %dx%d are not fused: %s", *frame.size, error)
            return None

    def _made_on_device(self, frame: Frame) -> DeviceGraph | None:
        picture = frame.device
        assert picture is not None

        def make(path: Path, open_engine: Opener) -> DeviceGraph:
            engine = device_engine_of(open_engine(path))
            if engine is None or engine.device != picture.device:
                raise ModelRejected(f"the network's engine cannot take them from {picture.device}")
            graph = DeviceGraph(engine)
            if self._reference is not None:
                reference = DeviceGraph(OnHost(self._reference(path)))
                check_on_device(graph, reference, frame, _others(frame))
            return graph

        try:
            return self._first_good(self._kept(frame, "nv12", picture.pitch), make)
        except (ModelRejected, EngineError) as error:
            log.warning("frames of %dx%d leave the device: %s", *frame.size, error)
            return None

    def _first_good(self, path: Path, make: Callable[[Path, Opener], G]) -> G:
        """What can be made, by the first of the openers whose engine passes its test."""
        *bold, last = self._openers
        for open_engine in bold:
            try:
                return make(path, open_engine)
            except EngineError as error:
                self.counts["without_cuda_graph"] += 1
                log.warning("the fused graph failed its test and is tried again without CUDA graphs: %s", error)
        return make(path, last)

    def _kept(self, frame: Frame, layout: Layout = "i420", pitch: int | None = None) -> Path:
        """The file of the graph for such frames, made if it is not there."""
        width, height = frame.size
        if frame.chroma_size != (width // 2, height // 2) or (frame.device is None and frame.alpha is not None):
            raise ModelRejected("a fused graph takes planes of 4:2:0 without alpha")
        path = store.cache_folder() / "fused" / f"{self.key(frame, layout, pitch)}.onnx"
        if not path.is_file():
            model = fuse(
                self._card,
                store.verify(self._card),
                self._layers,
                size=frame.size,
                colour=frame.colour,
                layout=layout,
                pitch=pitch,
                steady=self._steady,
                refine=self._refine,
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            onnx.save(model, part)
            part.replace(path)
        return path

    def graph_file(self, frame: Frame) -> Path:
        """The file of the graph for frames like this one; ModelRejected for frames that no graph makes."""
        return self._kept(frame)

    def key(self, frame: Frame, layout: Layout = "i420", pitch: int | None = None) -> str:
        """SHA-256 of everything that the graph for such frames is made of."""
        layers = [(layer.regions, layer.table.tobytes(), repr(layer.paint), layer.line) for layer in self._layers]
        card = self._card.model_dump(include={"sha256", "input", "outputs", "names", "family"})
        parts = (FORMAT, card, layers, tuple(frame.size), asdict(frame.colour), layout, pitch)
        return hashlib.sha256(repr((*parts, self._steady, self._refine)).encode()).hexdigest()


class _Graph:
    """An engine for frames of one kind, and what it remembers."""

    def __init__(self, engine: BoundEngine) -> None:
        self._engine = engine
        self._states = [name for name in engine.inputs if name.startswith("past_")]

    def __call__(self, frame: Frame, pictures: list[Frame], _counts: Counter[str]) -> tuple[Frame, U8]:
        """The frame with the planes that were made of it, and the masks CxHxW."""
        planes, masks = self.run(frame, pictures)
        return frame.with_planes(planes), masks

    def run(self, frame: Frame, pictures: list[Frame]) -> tuple[tuple[U8, U8, U8], U8]:
        """The frame's planes and the masks CxHxW, in memory of their own."""
        inputs = self._engine.inputs
        for prefix, source in (("", frame), *((f"picture{i}_", picture) for i, picture in enumerate(pictures))):
            for name, plane in zip("yuv", source.planes, strict=True):
                np.copyto(inputs[f"{prefix}{name}"][0, 0], plane)
        outputs = self._engine.run()
        for name in self._states:
            np.copyto(inputs[name], outputs[name.replace("past_", "next_")])
        if self._states:
            inputs["known"].fill(1.0)
        y, u, v = (outputs[f"out_{name}"][0, 0].copy() for name in "yuv")
        return (y, u, v), outputs["masks"][0].copy()

    def reset(self) -> None:
        """No past."""
        if self._states:
            self._engine.inputs["known"].fill(0.0)

    @property
    def pictures(self) -> int:
        """How many pictures it wants with a frame."""
        return sum(name.endswith("_y") for name in self._engine.inputs)


def check_twice(graph: _Graph, reference: _Graph, frame: Frame) -> None:
    """Compare a device with the CPU on two different frames, one right after the other.

    Raises EngineError for a device that gives something else, or the first frame again.
    """
    second = frame.with_planes(_others(frame))
    for number, shown in enumerate((frame, second), start=1):
        pictures = [second] * graph.pictures
        (planes, masks), (wanted, expected) = graph.run(shown, pictures), reference.run(shown, pictures)
        for found, right in zip((*planes, masks), (*wanted, expected), strict=True):
            if (alike := share_alike(found, right)) < ALIKE:
                raise EngineError(
                    f"the device gave another picture than the CPU in test frame {number} of 2 "
                    f"({100 * (1 - alike):.1f} % of it): update the driver or ONNX Runtime; frames are made unfused"
                )
    graph.reset()
    reference.reset()


def _others(frame: Frame) -> tuple[U8, U8, U8]:
    """Planes that have nothing to do with the frame's, smooth enough for a network to see things in them."""
    chance = np.random.default_rng(0)

    def other(plane: U8) -> U8:
        height, width = plane.shape
        coarse: NDArray[np.uint8] = chance.integers(0, 256, (-(-height // 32), -(-width // 32)), dtype=np.uint8)
        return np.kron(coarse, np.ones((32, 32), np.uint8))[:height, :width].copy()

    y, u, v = frame.planes
    return other(y), other(u), other(v)


def _layers_of(effect: Effect, card: Card) -> list[GraphLayer]:
    if not isinstance(effect, Fusable):
        raise ConfigError(f"the effect {type(effect).__name__} cannot be fused: leave it out, or run unfused")
    return list(effect.graph_layers(card))


def _pictures(effect: Effect, frame: Frame) -> list[Frame]:
    paint: Any = getattr(effect, "painted", None)
    made = None if paint is None else paint(frame)
    return [made.frame] if isinstance(made, Picture) else []
