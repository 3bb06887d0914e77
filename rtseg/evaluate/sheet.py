"""The pictures that a model does worst on, on one sheet: figures say how bad, only looking says why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from rtseg.datasets import DataSet, Sample
from rtseg.evaluate.coco import CocoSet
from rtseg.evaluate.models import Model, known_regions, region_masks
from rtseg.evaluate.plan import Options
from rtseg.evaluate.scores import PictureScore, SetScores
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.palette import RGB
from rtseg.ops.resize import resize
from rtseg.ops.text import text_alpha
from rtseg.sinks.files import encode_image, write_whole
from rtseg.types import Frame

COLUMNS = 4
PANEL = (288, 216)
"""Width and height that each of the two panels of a picture has at most."""

_GAP = 10
_BAND = 26
_HEIGHT = 22
_TRUTH = (255, 214, 0)
_PREDICTION = (230, 0, 160)


def write_worst(
    model: Model, data: DataSet | CocoSet, scores: SetScores, folder: Path, *, options: Options
) -> Path | None:
    """`worst-MODEL-SET.png` with the pictures of `scores.worst`, run again; None where there are none.

    Each is shown as it is, and with what was predicted as a tint and the truth as an outline; what the labels do not
    know is dark. Raises SinkError.
    """
    if not scores.worst:
        return None
    tiles = [_tile(model, data, picture, options) for picture in scores.worst]
    title = f"{model.name} on {data.title}, worst first: "
    legend = ("truth outlined", _TRUTH), ("prediction tinted", _PREDICTION)
    return lay_out(tiles, title, legend, sheet_path(folder, model.name, data.title))


def sheet_path(folder: Path, model: str, data: str) -> Path:
    """Where the worst pictures of a model on a set are."""
    return folder / f"worst-{_safe(model)}-{_safe(data)}.png"


def lay_out(tiles: Sequence[U8], title: str, legend: Sequence[tuple[str, RGB]], path: Path) -> Path:
    """Write tiles RGB of one size, at least one, in as many columns as are about `COLUMNS` of two panels wide."""
    columns = min(max(1, round(COLUMNS * 2 * PANEL[0] / tiles[0].shape[1])), len(tiles))
    every = [*tiles, *[np.full_like(tiles[0], 255)] * (-len(tiles) % columns)]
    body = np.vstack([np.hstack(every[i : i + columns]) for i in range(0, len(every), columns)])
    head = _head(title, legend, body.shape[1])
    body = cv2.copyMakeBorder(body, 0, 0, 0, head.shape[1] - body.shape[1], cv2.BORDER_CONSTANT, value=(255, 255, 255))
    sheet = np.vstack([head, body])
    write_whole(path, encode_image(sheet[..., ::-1], path, (cv2.IMWRITE_PNG_COMPRESSION, 6)))
    return path


def tile_of(panels: Sequence[U8], caption: str) -> U8:
    """Panels of one size side by side under a line of text."""
    body = np.hstack(panels)
    band = np.full((_BAND, body.shape[1], 3), 255, np.uint8)
    _write(band, caption, 0)
    tile = np.vstack([band, body])
    return as_u8(cv2.copyMakeBorder(tile, 0, _GAP, _GAP, _GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255)))


def _tile(model: Model, data: DataSet | CocoSet, picture: PictureScore, options: Options) -> U8:
    sample = data.read(picture.stem)
    names = known_regions(model.card, [picture.region], options)
    mask = region_masks(model.segmenter(Frame.from_rgb(sample.rgb)), names)[picture.region]
    kind = "F1" if picture.region in options.lines else "IoU"
    panels = _panels(sample, picture.region, mask, rim=3 if kind == "IoU" else 0)
    what = f"{picture.region} " if len(data.regions) > 1 else ""
    return tile_of([centred(panel) for panel in panels], f"{what}{kind} {picture.score:.3f}, {picture.stem}")


def _panels(sample: Sample, region: str, mask: U8, *, rim: int) -> tuple[U8, U8]:
    """The picture, and the same with truth and prediction, RGB, so large that they fit a panel.

    rim: width of the black around the outline, which thin lines have not room for.
    """
    height, width = sample.known.shape
    ratio = min(PANEL[0] / width, PANEL[1] / height)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    plain = np.dstack([resize(np.ascontiguousarray(sample.rgb[..., i]), size) for i in range(3)])
    shown = plain.astype(np.float32)
    shown[resize(sample.known, size) <= 127] *= 0.35
    alpha = 0.55 * (resize(mask, size) > 127)[..., None]
    drawn = np.rint(shown * (1 - alpha) + alpha * np.array(_PREDICTION, np.float32)).astype(np.uint8)
    truth = np.where(resize(sample.planes[region], size) > 127, np.uint8(1), np.uint8(0))
    outlines, _ = cv2.findContours(truth, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    if rim:
        cv2.drawContours(drawn, outlines, -1, (0, 0, 0), rim, cv2.LINE_AA)
    cv2.drawContours(drawn, outlines, -1, _TRUTH, 1, cv2.LINE_AA)
    return plain, as_u8(drawn)


def centred(panel: U8) -> U8:
    """In the middle of a grey canvas of `PANEL`."""
    height, width = panel.shape[:2]
    left, top = (PANEL[0] - width) // 2, (PANEL[1] - height) // 2
    canvas = np.full((PANEL[1], PANEL[0], 3), 225, np.uint8)
    canvas[top : top + height, left : left + width] = panel
    return canvas


def _head(title: str, legend: Sequence[tuple[str, RGB]], width: int) -> U8:
    """A band of at least that width, as wide as its text."""
    texts = [title, *(text for text, _ in legend)]
    needed = _GAP + sum(text_alpha(text, _HEIGHT).shape[1] for text in texts) + 38 * len(legend) + _GAP
    band = np.full((2 * _BAND, max(width, needed), 3), 255, np.uint8)
    x = _write(band, title, _GAP)
    for text, colour in legend:
        cv2.rectangle(band, (x + 12, 16), (x + 32, 36), colour, cv2.FILLED)
        x = _write(band, text, x + 38)
    return band


def _write(band: U8, text: str, x: int) -> int:
    """Black text into a white band, as far as it fits; the column where it ends."""
    alpha = text_alpha(text, _HEIGHT)[:, : max(0, band.shape[1] - x)]
    top = (band.shape[0] - alpha.shape[0]) // 2
    band[top : top + alpha.shape[0], x : x + alpha.shape[1]] -= alpha[..., None]
    return x + int(alpha.shape[1])


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)
