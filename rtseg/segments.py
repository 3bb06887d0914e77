"""What is in a single picture, in the shape of `pipeline("image-segmentation")`, and other ways to write it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError, FrameError
from rtseg.ops.arrays import F32
from rtseg.ops.runs import box_of, runs_of, text_of_runs

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageSegment(TypedDict):
    """One segment of a picture. mask: PIL "L" of the picture's size, 0..255; score: 0..1, None where there is none."""

    label: str
    score: float | None
    mask: Image


class Segments(list[ImageSegment]):
    """A list of segments, with what was asked for besides.

    names: every class that the model knows, in its order. places: each segment's in `names`, since models call two
    classes the same; () where labels are enough. probabilities: None, or float32 CxHxW of the picture's size that sum
    to one over the classes.
    """

    def __init__(
        self,
        segments: Iterable[ImageSegment] = (),
        *,
        names: Sequence[str] = (),
        places: Sequence[int] = (),
        probabilities: F32 | None = None,
    ) -> None:
        super().__init__(segments)
        self.names = tuple(names)
        self.places = tuple(places)
        self.probabilities = probabilities


def as_label_map(
    segments: Sequence[ImageSegment], *, names: Sequence[str] | None = None
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """One number a pixel, HxW: the place of its segment's label in `names`; 255 (or 65535) where no segment is.

    names: those of the model by default. uint8, or uint16 for more than 255 names. A pixel is a segment's from level
    128 on; of segments that overlap the later counts. Raises ConfigError for a label that is not in `names`, and
    FrameError for no segment, which has no size.
    """
    known = tuple(getattr(segments, "names", ()) if names is None else names) or tuple(
        dict.fromkeys(segment["label"] for segment in segments)
    )
    if not segments:
        raise FrameError("there is no segment, so the label map has no size: make one of the picture's size yourself")
    dtype = np.uint8 if len(known) <= 255 else np.uint16
    first = np.asarray(segments[0]["mask"])
    labels: NDArray[Any] = np.full(first.shape, np.iinfo(dtype).max, dtype)
    places: Sequence[int] = getattr(segments, "places", ()) if names is None else ()
    for number, segment in enumerate(segments):
        if segment["label"] not in known:
            raise ConfigError(f"the label {segment['label']!r} is not among names {list(known)}")
        place = places[number] if len(places) == len(segments) else known.index(segment["label"])
        labels[np.asarray(segment["mask"]) >= 128] = place
    return labels


def as_coco(segments: Sequence[ImageSegment], *, compressed: bool = True) -> list[dict[str, Any]]:
    """Each segment as plain values: label, score, area, bbox (x, y, width, height) and `segmentation` in runs.

    compressed: pycocotools' text, else the lengths. A pixel is the segment's from level 128 on. The text is what
    `pycocotools.mask.encode` gives, to the letter, and pycocotools is not needed.
    """
    found = []
    for segment in segments:
        mask = np.asarray(segment["mask"]) >= 128
        runs = runs_of(mask)
        found.append(
            {
                "label": segment["label"],
                "score": segment["score"],
                "area": int(mask.sum()),
                "bbox": list(box_of(mask)),
                "segmentation": {"size": list(mask.shape), "counts": text_of_runs(runs) if compressed else runs},
            }
        )
    return found
