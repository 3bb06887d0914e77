"""Labelled people cut out, and what they are put in front of: what the scenes of `benchmarks.quality` are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from benchmarks.video import decode
from rtseg.datasets import DataSet, read_rgb
from rtseg.errors import ConfigError
from rtseg.ops.arrays import F32, U8, as_f32, as_u8
from rtseg.types import Size

_SMOOTHED = 0.8  # of a label, in its own pixels: its staircase is gone, and thin fingers are still there
_RIM = 5
"""Pixels across that are taken off a label before its colours count as the person's: labels are that wrong."""
_BELOW = 0.4  # how much of its height a person goes on below the picture, so that no motion shows the cut


@dataclass(frozen=True, slots=True)
class Person:
    """A held-back picture that shows one person down to the lower edge, and how to show it.

    tall: the person's height as a share of the frame's. soft: width of the edge in pixels of 640x360.
    """

    folder: str
    stem: str
    tall: float = 0.86
    soft: float = 2.0
    view: str = "whole"


@dataclass(frozen=True, eq=False, slots=True)
class Cutout:
    """colour: float32 HxWx3 RGB, 0..255, that of the person also outside of it. alpha: float32 HxW, 0..1.

    anchor: x and y of the middle of the edge that lies at the frame's lower edge.
    """

    colour: F32
    alpha: F32
    anchor: tuple[float, float]


PEOPLE = (
    Person("ccp", "0008", 0.86, 2.0, "head_to_chest"),
    Person("ccp", "0171", 0.84, 2.5, "head_to_chest"),
    Person("web", "154", 0.86),
    Person("ccp", "0116", 0.84, 3.5, "head_to_chest"),
    Person("web", "98", 0.74, 1.6),
    Person("ccp", "0398", 0.84, 1.8, "head_to_chest"),
    Person("ccp", "0446", 0.84, 1.8, "head_to_chest"),
    Person("ccp", "0064", 0.84, 3.0, "head_to_chest"),
    Person("web", "9", 0.92, 1.6),
    Person("ccp", "0320", 0.80, 2.0, "head_to_chest"),
    Person("web", "53", 0.84, 3.0),
    Person("ccp", "0161", 0.84, 1.6, "head_to_chest"),
)
"""Held back from training, with labels whose edge is the person's; none reaches a side of its picture."""

BACKDROPS = (
    "room",
    "road/highway_white.mp4",
    "room:left",
    "road/highway_traffic.mp4",
    "photo:0006R0_f03030",
    "road/highway_dusk.mp4",
    "room:right",
    "photo:0006R0_f01080",
)
"""A clip is moving; "room" is the empty room of a clip, standing still, whole or a side of it; photos are streets.
Nobody is in any."""


def read_person(shared: Path, person: Person, size: Size) -> Cutout:
    """The cutout of a person for frames of that size. Raises ConfigError where the picture is not there."""
    folder = shared / "data" / "person" / person.folder
    data = DataSet.model_validate({"folder": folder, "regions": {"person": ()}, "view": person.view})
    if person.stem not in data.files:
        raise ConfigError(f"{folder} has no {person.stem!r}: set RTSEG_SHARED to the folder of footage and labels")
    sample = data.read(person.stem)
    return cutout(sample.rgb, sample.planes["person"], size, tall=person.tall, soft=person.soft)


def cutout(rgb: U8, label: U8, size: Size, *, tall: float, soft: float) -> Cutout:
    """A person of RGB uint8 HxWx3 and a hard label uint8 HxW, at the size that it will be seen at.

    The label is smoothed, enlarged and made as steep as `soft` says, so the alpha has neither its staircase nor the
    blur of enlarging. Colours within `_RIM` of its edge hold some of the old background: there and outside, those of
    the nearest pixel surely inside are taken.
    """
    solid = as_u8(cv2.medianBlur(label, 5))
    rows = np.flatnonzero((solid > 127).any(axis=1))
    scale = tall * size.height / (rows[-1] + 1 - rows[0])
    colour = grown(rgb, as_u8(cv2.erode(solid, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_RIM, _RIM)))))
    smooth = as_f32(cv2.GaussianBlur(solid.astype(np.float32) / 255.0, (0, 0), _SMOOTHED))
    top, bottom = max(0, rows[0] - 8), rows[-1] + 1
    more = round(_BELOW * (bottom - top))
    parts = [cv2.copyMakeBorder(plane[top:bottom], 0, more, 0, 0, cv2.BORDER_REFLECT_101) for plane in (colour, smooth)]
    wide, high = round(rgb.shape[1] * scale), round((bottom + more - top) * scale)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown, alpha = (cv2.resize(part, (wide, high), interpolation=way) for part in parts)
    # A step smoothed by a Gaussian of sigma s rises by 1 / (sqrt(2 pi) s) a pixel.
    rise = math.sqrt(2.0 * math.pi) * _SMOOTHED * scale / (soft * size.height / 360.0)
    steep = np.clip((alpha - 0.5) * max(1.0, rise) + 0.5, 0.0, 1.0)
    # Columns where the picture cuts the person would show a straight edge: nobody chosen reaches them.
    middle = float(np.average(np.arange(wide), weights=steep.sum(axis=0)))
    return Cutout(
        as_f32(np.clip(shown, 0.0, 255.0)), as_f32(steep.astype(np.float32)), (middle, (bottom - top) * scale)
    )


def grown(rgb: U8, inside: U8) -> U8:
    """RGB with all that is not inside (0 of uint8 HxW) painted like the nearest pixel that is, slightly smoothed."""
    away = as_u8(cv2.bitwise_not(cv2.threshold(inside, 127, 255, cv2.THRESH_BINARY)[1]))
    _, labels = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    order = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    order[labels[away == 0]] = rgb[away == 0]
    filled = order[labels]
    smooth = cv2.GaussianBlur(filled, (0, 0), 1.5)
    return as_u8(np.where(away[..., None] > 0, smooth, rgb))


def read_backdrop(shared: Path, name: str, size: Size, frames: int) -> list[U8]:
    """RGB uint8 HxWx3 of that size: one picture that stands still, or as many as frames. Raises ConfigError."""
    kind, _, which = name.partition(":")
    if kind == "photo":
        path = shared / "data" / "driving" / "camvid" / "train" / "images" / f"{which}.jpg"
    else:
        path = shared / "clips" / ("people/walk_through_room.mp4" if kind == "room" else name)
    if not path.is_file():
        raise ConfigError(f"{path} is not there: set RTSEG_SHARED to the folder of footage and labels")
    if kind == "photo":
        return [fitted(read_rgb(path), size)]
    taken = 1 if kind == "room" else frames
    pictures = [as_u8(frame.to_ndarray(format="rgb24")) for frame, _ in islice(decode(str(path), taken), taken)]
    if which:
        wide = pictures[0].shape[1]
        part = np.s_[: pictures[0].shape[0] * 5 // 8, : wide * 5 // 8] if which == "left" else np.s_[:, wide // 3 :]
        pictures = [picture[part] for picture in pictures]
    return (
        repeated([fitted(picture, size) for picture in pictures], frames) if taken > 1 else [fitted(pictures[0], size)]
    )


def repeated(pictures: Sequence[U8], frames: int) -> list[U8]:
    """As many pictures as frames, there and back again, so that a short clip has no cut."""
    there_and_back = [*pictures, *pictures[-2:0:-1]]
    return [there_and_back[index % len(there_and_back)] for index in range(frames)]


def fitted(rgb: U8, size: Size) -> U8:
    """The middle of a picture, as large as it fits, at `size`."""
    height, width = rgb.shape[:2]
    ratio = max(size.width / width, size.height / height)
    wide, high = min(width, round(size.width / ratio)), min(height, round(size.height / ratio))
    x, y = (width - wide) // 2, (height - high) // 2
    way = cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC
    return as_u8(cv2.resize(np.ascontiguousarray(rgb[y : y + high, x : x + wide]), size, interpolation=way))
