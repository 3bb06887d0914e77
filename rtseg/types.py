"""The whole contract on one page: what travels through a pipeline, and the protocols of those who handle it.

::

    Source ─Frame▶ Segmenter ─Segmentation▶ Filters ▶ Analyzers ─Observations▶ Effects ─Layers▶ Compositor ▶ Sinks

Sizes are (width, height); array shapes are (height, width). Boxes are (x0, y0, x1, y1) in pixels of the frame,
x1 and y1 exclusive. A mask covers exactly its frame, whatever its own resolution: letterboxes and crops are undone
by the segmenter. Times are counted in ticks (`pts`) of `time_base` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, NamedTuple, Protocol, Self, TypeAlias, TypedDict, assert_never, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import FrameError
from rtseg.ops.arrays import F32, U8
from rtseg.ops.colour import Colour, Matrix, merge_rgb, rgb_to_planes
from rtseg.ops.resize import resize

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
    "Frame",
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
]


class Size(NamedTuple):
    """Width and height in pixels, in this order everywhere."""

    width: int
    height: int


BT709 = Colour()
JPEG = Colour("bt601", full_range=True)
Box: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture as the decoder gave it: planar YUV, 8 bits, never copied and never converted on the way through.

    planes: Y (HxW), U and V (each ceil(H / sy) x ceil(W / sx); 4:2:0, 4:2:2 and 4:4:4 alike), uint8, read-only.
    colour: matrix and range of the planes. alpha: None, or coverage HxW, 0 clear .. 255 opaque, not premultiplied.
    index: position in its source, from 0. pts, duration: in ticks of time_base (duration 0: unknown).
    arrived: `time.monotonic()` when the source had it. epoch: grows on seek, reconnect and size change.
    """

    planes: tuple[U8, U8, U8]
    colour: Colour = BT709
    index: int = 0
    pts: int = 0
    time_base: Fraction = Fraction(1, 90000)
    arrived: float = field(default_factory=time.monotonic)
    epoch: int = 0
    duration: int = 0
    alpha: U8 | None = None
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        luma, u, v = self.planes
        if luma.ndim != 2 or 0 in luma.shape or any(plane.dtype != np.uint8 for plane in self.planes):
            raise FrameError(f"planes must be three non-empty uint8 arrays of 2 dimensions, not {_shapes(self.planes)}")
        allowed = {(-(-luma.shape[0] // sy), -(-luma.shape[1] // sx)) for sx, sy in _SUBSAMPLINGS}
        if u.shape != v.shape or u.shape not in allowed:
            raise FrameError(
                f"U and V must both be 4:2:0, 4:2:2 or 4:4:4 of Y, one of {sorted(allowed)}, not {_shapes(self.planes)}"
            )
        if self.alpha is not None and (self.alpha.shape != luma.shape or self.alpha.dtype != np.uint8):
            raise FrameError(f"alpha must be uint8 of the shape of Y, {luma.shape}, not {_shapes((self.alpha,))}")
        object.__setattr__(self, "planes", tuple(_read_only(plane) for plane in self.planes))
        if self.alpha is not None:
            object.__setattr__(self, "alpha", _read_only(self.alpha))

    @classmethod
    def from_rgb(cls, rgb: U8, *, colour: Colour = JPEG, **meta: Any) -> Self:
        """A frame from RGB uint8 HxWx3 (RGBA: HxWx4, the fourth becomes `alpha`), 4:2:0; `meta` as in `Frame`."""
        if rgb.ndim != 3 or rgb.shape[2] not in (3, 4) or rgb.dtype != np.uint8 or 0 in rgb.shape:
            raise FrameError(f"a picture must be uint8 of shape HxWx3 or HxWx4, not {_shapes((rgb,))}")
        alpha = np.ascontiguousarray(rgb[..., 3]) if rgb.shape[2] == 4 else None
        return cls(rgb_to_planes(np.ascontiguousarray(rgb[..., :3]), colour), colour, alpha=alpha, **meta)

    @classmethod
    def from_bgr(cls, bgr: U8, **meta: Any) -> Self:
        """The same from OpenCV's BGR uint8 HxWx3."""
        return cls.from_rgb(bgr[..., ::-1] if bgr.ndim == 3 and bgr.shape[2] == 3 else bgr, **meta)

    @property
    def size(self) -> Size:
        """Width and height."""
        height, width = self.planes[0].shape
        return Size(width, height)

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)

    @property
    def rgb(self) -> U8:
        """RGB uint8 HxWx3 at full size, made once and kept: for those who need it, not for the hot path."""
        if "rgb" not in self._cache:
            self._cache["rgb"] = _read_only(merge_rgb(self.planes[0], *self._chroma(self.size), self.colour))
        return self._cache["rgb"]  # type: ignore[no-any-return]

    @property
    def bgr(self) -> U8:
        """BGR uint8 HxWx3 at full size, as OpenCV wants it."""
        return np.ascontiguousarray(self.rgb[..., ::-1])

    def luma(self, size: tuple[int, int]) -> U8:
        """Y at `size` (width, height), uint8 in the frame's own range; made once a size and kept."""
        key = ("luma", *size)
        if key not in self._cache:
            width, height = self.size
            half = (width // 2, height // 2)
            if width % 2 == height % 2 == 0 and size[0] <= half[0] and size[1] <= half[1] and size != half:
                # Several stages ask for small planes: they share the first and dearest halving.
                self._cache[key] = resize(self.luma(half), size)
            else:
                self._cache[key] = resize(self.planes[0], size)
        return self._cache[key]  # type: ignore[no-any-return]

    def resized(self, size: tuple[int, int]) -> U8:
        """RGB uint8 at `size` (width, height), stretched, from planes resized first: what networks take."""
        key = ("rgb", *size)
        if key not in self._cache:
            self._cache[key] = _read_only(merge_rgb(self.luma(size), *self._chroma(size), self.colour))
        return self._cache[key]  # type: ignore[no-any-return]

    def with_planes(self, planes: tuple[U8, U8, U8], *, alpha: U8 | None = None) -> Frame:
        """The same moment with other pixels: index, pts, colour and times are kept."""
        return replace(self, planes=planes, alpha=alpha)

    def _chroma(self, size: tuple[int, int]) -> tuple[U8, U8]:
        _, u, v = self.planes
        return resize(u, size), resize(v, size)

    def __repr__(self) -> str:
        width, height = self.size
        return (
            f"Frame({width}x{height} {_shapes(self.planes)} {self.colour.matrix}"
            f"{' full' if self.colour.full_range else ''}{' alpha' if self.alpha is not None else ''}, "
            f"index={self.index}, pts={self.pts}, time_base={self.time_base}, epoch={self.epoch})"
        )


_SUBSAMPLINGS = ((1, 1), (2, 1), (2, 2))


class Segment(TypedDict):
    """One segment of a result, in the shape known from `pipeline("image-segmentation")`; score None: not given.

    mask: uint8 at the result's own resolution, 0..255 soft or 0 and 255 hard.
    """

    label: str
    score: float | None
    mask: U8


@dataclass(frozen=True, eq=False, slots=True)
class Regions:
    """Soft areas that may overlap: a matte, drivable + lane, one per text prompt.

    probabilities: uint8 CxHxW, 0..255; names: C names; pts of the frame they were made from; size of that frame.
    """

    probabilities: U8
    names: tuple[str, ...]
    pts: int
    size: Size

    def __post_init__(self) -> None:
        p = self.probabilities
        if p.ndim != 3 or p.dtype != np.uint8 or 0 in p.shape or p.shape[0] != len(self.names):
            raise FrameError(f"probabilities must be uint8 of shape {len(self.names)}xHxW, not {_shapes((p,))}")

    def segments(self) -> list[Segment]:
        """One segment a region; the score is the mean probability where it is at least a half."""
        return [
            {"label": name, "score": _mean_over_half(mask), "mask": mask}
            for name, mask in zip(self.names, self.probabilities, strict=True)
        ]


@dataclass(frozen=True, eq=False, slots=True)
class Semantic:
    """One class a pixel. labels: uint8 or uint16 HxW, indices into names; 255 (or 65535) is no class."""

    labels: NDArray[np.uint8] | NDArray[np.uint16]
    names: tuple[str, ...]
    pts: int
    size: Size

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.labels.dtype not in (np.uint8, np.uint16) or 0 in self.labels.shape:
            raise FrameError(f"labels must be uint8 or uint16 of shape HxW, not {_shapes((self.labels,))}")

    def segments(self) -> list[Segment]:
        """One segment for each class that is present; no score, since the argmax kept none."""
        present = np.flatnonzero(np.bincount(self.labels.ravel(), minlength=len(self.names))[: len(self.names)])
        return [
            {
                "label": self.names[i],
                "score": None,
                "mask": np.where(self.labels == i, np.uint8(255), np.uint8(0)),
            }
            for i in present
        ]


@dataclass(frozen=True, eq=False, slots=True)
class Instances:
    """Countable things. masks: uint8 NxHxW, 0..255; boxes: float32 Nx4 in frame pixels; labels: N indices into
    names; scores: float32 N, 0..1; track_ids: N, stable over time, or None."""  # fmt: skip

    masks: U8
    boxes: F32
    labels: NDArray[np.int64]
    scores: F32
    names: tuple[str, ...]
    pts: int
    size: Size
    track_ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = self.masks.shape[0]
        if (
            self.masks.ndim != 3
            or self.boxes.shape != (count, 4)
            or not self.labels.shape == self.scores.shape == (count,)
        ):
            arrays = (self.masks, self.boxes, self.labels, self.scores)
            raise FrameError(f"masks, boxes, labels and scores must agree on N, not {_shapes(arrays)}")

    def segments(self) -> list[Segment]:
        """One segment an instance, in the order of the arrays."""
        return [
            {"label": self.names[label], "score": float(score), "mask": mask}
            for label, score, mask in zip(self.labels, self.scores, self.masks, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """What a panoptic id stands for: `label` indexes names; `score` 0..1 or None."""

    id: int
    label: int
    score: float | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Panoptic:
    """Each pixel belongs to one thing or stuff. ids: int32 HxW, -1 for none; segments_info: one for each id."""

    ids: NDArray[np.int32]
    segments_info: tuple[SegmentInfo, ...]
    names: tuple[str, ...]
    pts: int
    size: Size

    def segments(self) -> list[Segment]:
        """One segment for each entry of segments_info."""
        return [
            {
                "label": self.names[s.label],
                "score": s.score,
                "mask": np.where(self.ids == s.id, np.uint8(255), np.uint8(0)),
            }
            for s in self.segments_info
        ]


Segmentation: TypeAlias = Regions | Semantic | Instances | Panoptic


@dataclass(frozen=True, slots=True)
class Solid:
    """Paint of one colour: RGB, 0..255 each."""

    rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """Paint from another frame, of the layer's size and the base frame's colour and subsampling."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Blur:
    """Paint from the frame itself, blurred; strength is the Gaussian sigma in percent of the frame's height.

    Only what the layer covers is blurred together: what it leaves alone (the person) does not smear into it.
    """

    strength: float = 2.5


@dataclass(frozen=True, slots=True)
class Keep:
    """Paint from the untouched frame: puts the subject back over layers below."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Takes the frame's alpha away where the layer covers it; colours stay (straight alpha)."""


Paint: TypeAlias = Solid | Picture | Blur | Keep | Clear


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """An alpha and a paint: what every effect is made of.

    alpha: uint8 hxw of any resolution (0 nothing .. 255 only paint), brought to size bilinearly, or one number
    0..1 for all. box: the part of the frame that alpha covers, None for the whole; it may stick out.
    """

    alpha: U8 | float
    paint: Paint
    box: Box | None = None


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
    network failed on this frame.
    """

    frame: Frame
    segmentation: Segmentation
    observations: Sequence[Observation]
    picture: Frame
    times: Mapping[str, float] = field(default_factory=dict)
    held: bool = False


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

    `empty` is the result that claims nothing, used when the network fails: no person, no lane.
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
class Effect(Protocol):
    """Turns results into layers, bottom first. A pure function of its arguments but for cached pictures."""

    def __call__(
        self, frame: Frame, segmentation: Segmentation, observations: Sequence[Observation], /
    ) -> Sequence[Layer]: ...


@runtime_checkable
class Sink(Protocol):
    """Takes outputs, in order, in one thread. `close` makes what was taken whole and durable."""

    def write(self, output: Output, /) -> None: ...
    def close(self) -> None: ...


def masks_of(segmentation: Segmentation) -> Mapping[str, U8]:
    """Every name that is present with its mask at the result's own resolution, uint8; instances of a class united."""
    match segmentation:
        case Regions():
            return dict(zip(segmentation.names, segmentation.probabilities, strict=True))
        case Semantic() | Instances() | Panoptic():
            united: dict[str, U8] = {}
            for segment in segmentation.segments():
                label, mask = segment["label"], segment["mask"]
                united[label] = np.maximum(united[label], mask) if label in united else mask
            return united
        case _:
            assert_never(segmentation)


def _read_only(plane: U8) -> U8:
    if plane.flags.writeable:
        plane = plane.view()
        plane.flags.writeable = False
    return plane


def _mean_over_half(mask: U8) -> float:
    inside = mask[mask >= 128]
    return float(inside.mean()) / 255.0 if inside.size else 0.0


def _shapes(arrays: Sequence[NDArray[Any]]) -> str:
    return ", ".join(f"{a.dtype}[{'x'.join(map(str, a.shape))}]" for a in arrays)
