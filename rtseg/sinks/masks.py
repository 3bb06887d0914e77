"""Writes masks as PNG files, for those who composite elsewhere or compute scores."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, Self, TypeAlias, assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import U8
from rtseg.ops.resize import resize
from rtseg.sinks.files import encode_image, make_folder, sync_folder, write_whole
from rtseg.sinks.names import Stems
from rtseg.types import Instances, Output, Panoptic, Regions, Segmentation, Semantic

Mask: TypeAlias = U8 | NDArray[np.uint16]

_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 3)


class MaskFolder:
    """`<folder>/<stem><suffix>.png` for each mask of each output, at the frame's size: see `mask_images`.

    names: stems in order of `Frame.index`, six-digit numbers without. Files of the same name are replaced.
    Raises SinkError or DiskFull where a file cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], *, names: Sequence[str] | None = None) -> None:
        self._stems = Stems(names)
        self._folder = make_folder(folder)

    def write(self, output: Output, /) -> None:
        """Write the masks of `output.segmentation`."""
        stem = self._stems[output.frame.index]
        for suffix, mask in mask_images(output.segmentation, output.frame.size).items():
            path = self._folder / f"{stem}{suffix}.png"
            write_whole(path, encode_image(mask, path, _PNG))

    def close(self) -> None:
        """Make the files' names durable."""
        sync_folder(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def mask_images(segmentation: Segmentation, size: tuple[int, int]) -> dict[str, Mask]:
    """A suffix for the file's name, and what is in the file, HxW at `size` (width, height).

    - one region: "" and the probability, uint8 0..255, enlarged bilinearly
    - several regions: ".<region>" and the same for each
    - a class map: "" and the indices as they are, uint8 or uint16, the nearest of each pixel
    - instances and panoptic segments: "" and their numbers in the order of the result, uint16 from 1; 0 is none.
      Where instances overlap, the one with the higher score is seen.
    """
    match segmentation:
        case Regions():
            masks = (resize(mask, size) for mask in segmentation.probabilities)
            return dict(zip(_suffixes(segmentation.names), masks, strict=True))
        case Semantic():
            return {"": _nearest(segmentation.labels, size)}
        case Instances():
            numbers = np.zeros((size[1], size[0]), np.uint16)
            for index in np.argsort(segmentation.scores, kind="stable"):
                numbers[resize(segmentation.masks[index], size) >= 128] = index + 1
            return {"": numbers}
        case Panoptic():
            small = np.zeros(segmentation.ids.shape, np.uint16)
            for number, segment in enumerate(segmentation.segments_info, start=1):
                small[segmentation.ids == segment.id] = number
            return {"": _nearest(small, size)}
        case _:
            assert_never(segmentation)


def _nearest(labels: Mask, size: tuple[int, int]) -> Mask:
    resized: NDArray[Any] = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return resized


def _suffixes(names: Sequence[str]) -> list[str]:
    """A suffix for each region: names may be a user's words, files may not."""
    if len(names) == 1:
        return [""]
    suffixes: list[str] = []
    for name in names:
        suffix = "." + (re.sub(r"[^\w-]+", "-", name).strip("-") or "region")
        suffixes.append(f"{suffix}-{len(suffixes)}" if suffix in suffixes else suffix)
    return suffixes
