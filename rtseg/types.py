"""The whole contract on one page: what travels through a pipeline, and the protocols of those who handle it.

::

    Source ─Frame▶ Segmenter ─Segmentation▶ Filters ▶ Analyzers ─Observations▶ Effects ─Layers▶ Compositor ▶ Sinks

Sizes are (width, height); array shapes are (height, width). Boxes are (x0, y0, x1, y1) in pixels of the frame,
x1 and y1 exclusive. A mask covers exactly its frame, whatever its own resolution: letterboxes and crops are undone
by the segmenter. Times are counted in ticks (`pts`) of `time_base` seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

from rtseg.frame import Frame, Size
from rtseg.ops.arrays import U8
from rtseg.ops.colour import Colour, Matrix
from rtseg.results import (
    Instances,
    Panoptic,
    Regions,
    Segment,
    Segmentation,
    SegmentInfo,
    Semantic,
    masks_of,
)

__all__ = [
    "U8",
    "Analyzer",
    "Blur",
    "Box",
    "Clear",
    "Colour",
    "Effect",
    "Engine",
    "Filter",
    "Following",
    "Frame",
    "GraphLayer",
    "Instances",
    "Keep",
    "Layer",
    "Matrix",
    "Observation",
    "Output",
    "Paint",
    "Panoptic",
    "Picture",
    "Regions",
    "Segment",
    "SegmentInfo",
    "Segmentation",
    "Segmenter",
    "Semantic",
    "Sink",
    "Size",
    "Solid",
    "Source",
    "StreamInfo",
    "Tints",
    "masks_of",
]


Box: TypeAlias = tuple[int, int, int, int]
"""x0, y0, x1, y1."""


@dataclass(frozen=True, slots=True)
class Solid:
    """Paint of one colour: RGB, 0..255 each."""

    rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """Paint from another frame, of the layer's size and the base frame's colour and subsampling."""

    frame: Frame


@dataclass(frozen=True, eq=False, slots=True)
class Tints:
    """Paint of many colours for a layer over the whole frame: Y, U and V in the frame's colour, uint8 hxw each.

    Like alpha they have any resolution and are enlarged bilinearly.
    """

    planes: tuple[U8, U8, U8]


@dataclass(frozen=True, slots=True)
class Blur:
    """Paint from the frame itself, blurred; strength is the Gaussian sigma in percent of the frame's height.

    Only what the layer covers is blurred together: what it leaves alone (the person) does not smear into it.
    lens: "disc" for a lens's discs, as wide as that Gaussian, in which bright spots stay bright; "depth" for the same
    with a floor that is sharper near the feet of what is left alone (`rtseg.ops.bokeh`). untouched: of the frame as it
    came, and not of what layers below made of it.
    """

    strength: float = 2.5
    lens: Literal["gaussian", "disc", "depth"] = "gaussian"
    untouched: bool = False


@dataclass(frozen=True, slots=True)
class Keep:
    """Paint from the untouched frame: puts the subject back over layers below."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Takes the frame's alpha away where the layer covers it; colours stay (straight alpha)."""


Paint: TypeAlias = Solid | Picture | Tints | Blur | Keep | Clear


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """An alpha and a paint: what every effect is made of.

    alpha: uint8 hxw of any resolution (0 nothing .. 255 only paint), brought to size bilinearly, or one number
    0..1 for all. box: the part of the frame that alpha covers, None for the whole; it may stick out.
    """

    alpha: U8 | float
    paint: Paint
    box: Box | None = None


@dataclass(frozen=True, eq=False, slots=True)
class GraphLayer:
    """A layer as data, for graphs that make whole frames (`rtseg.fused`): how alpha follows from the masks.

    regions: names whose union (the greatest level) is taken. table: 256 alphas, by the union's level. paint: None for
    a picture that comes with each frame. line: taken at twice a small mask's size, where lines show no steps. mixed: of
    classes, with its neighbours that are mixed too, at the masks' size: they are one layer of `Tints`.
    """

    regions: tuple[str, ...]
    table: U8
    paint: Solid | Blur | Keep | None
    line: bool = False
    mixed: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """Something an analyzer found in a frame: a kind ("lane", "event"), the frame's pts, and plain values."""

    kind: str
    pts: int
    values: Mapping[str, float | int | str | bool | None]


@dataclass(frozen=True, eq=False, slots=True)
class Output:
    """All that is known of one frame after the pipeline; `times` is milliseconds of wall time a stage.

    picture is `frame` itself when no effect changed it. held: the mask is an earlier one, or empty, since the
    network failed on this frame. inferred: whether the network was asked at all. window: the part of the frame that
    picture shows, x0, y0, x1, y1 in its pixels, of any fraction; None where nothing frames it.
    """

    frame: Frame
    segmentation: Segmentation
    observations: Sequence[Observation]
    picture: Frame
    times: Mapping[str, float] = field(default_factory=dict)
    held: bool = False
    inferred: bool = True
    window: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a source knows before its first frame, for sinks and progress bars; None where it does not know.

    size: as shown (rotation applied). rate: average frames a second. frames: as declared, possibly wrong.
    sample_aspect_ratio: of a pixel. audio: the path that audio can be copied from.
    start, end: the cut in seconds of the input's own time that frames are limited to.
    """

    name: str
    size: Size | None = None
    rate: Fraction | None = None
    frames: int | None = None
    seconds: float | None = None
    time_base: Fraction | None = None
    sample_aspect_ratio: Fraction | None = None
    audio: str | None = None
    start: float | None = None
    end: float | None = None


@runtime_checkable
class Source(Protocol):
    """Gives frames. live: an unread frame is worthless (keep the newest) rather than needed (block).

    Iterates once, in one thread; `close` may come from another thread and ends the iteration. `counts` says what
    was lost or repaired so far, by cause ("corrupt_packets", "repaired_timestamps", ...).
    """

    @property
    def live(self) -> bool: ...
    @property
    def info(self) -> StreamInfo: ...
    @property
    def counts(self) -> Mapping[str, int]: ...
    def __iter__(self) -> Iterator[Frame]: ...
    def close(self) -> None: ...


@runtime_checkable
class Engine(Protocol):
    """Runs a graph: named arrays in, named arrays out. The outputs are views that the next call overwrites."""

    @property
    def providers(self) -> tuple[str, ...]: ...
    def __call__(self, inputs: Mapping[str, NDArray[Any]], /) -> Mapping[str, NDArray[Any]]: ...


@runtime_checkable
class Segmenter(Protocol):
    """One model family: preprocess, engine, postprocess. Belongs to one stream; `reset` forgets what it remembers.

    `empty` is the result that claims nothing, used when the network fails: no person, no lane. Each result has arrays
    of its own: analyzers take the same array for the same result, shown again.
    """

    @property
    def names(self) -> tuple[str, ...]: ...
    def __call__(self, frame: Frame, /) -> Segmentation: ...
    def empty(self, frame: Frame, /) -> Segmentation: ...
    def reset(self) -> None: ...


@runtime_checkable
class Filter(Protocol):
    """Improves a segmentation, with or without memory of the frames before."""

    def __call__(self, frame: Frame, segmentation: Segmentation, /) -> Segmentation: ...
    def reset(self) -> None: ...


@runtime_checkable
class Analyzer(Protocol):
    """Reads meaning off a segmentation."""

    def __call__(self, frame: Frame, segmentation: Segmentation, /) -> Sequence[Observation]: ...
    def reset(self) -> None: ...


@runtime_checkable
class Following(Analyzer, Protocol):
    """An analyzer that is told what those before it found in the same frame, such as where the camera looks."""

    def after(
        self, frame: Frame, segmentation: Segmentation, observations: Sequence[Observation], /
    ) -> Sequence[Observation]: ...


@runtime_checkable
class Effect(Protocol):
    """Turns results into layers, bottom first. A pure function of its arguments but for cached pictures and for what
    keeps its place, such as a tag."""  # fmt: skip

    def __call__(
        self, frame: Frame, segmentation: Segmentation, observations: Sequence[Observation], /
    ) -> Sequence[Layer]: ...


@runtime_checkable
class Sink(Protocol):
    """Takes outputs, in order, in one thread. `close` makes what was taken whole and durable."""

    def write(self, output: Output, /) -> None: ...
    def close(self) -> None: ...
