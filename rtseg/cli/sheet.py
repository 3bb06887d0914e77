"""The picture that `rtseg demo` leaves: input, mask, blur and another background, side by side with captions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.cli.progress import expected_frames
from rtseg.compositor import Compositor
from rtseg.effects.background import Background
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.text import text_alpha
from rtseg.sinks.files import encode_image, write_whole
from rtseg.sinks.masks import mask_images
from rtseg.types import Frame, Output, Picture, Sink, StreamInfo

_WIDTH = 480
_GAP = 12
_BAND = 34
_WHITE = (255, 255, 255)
_CAPTIONS = ("input", "mask", "background blurred", "background replaced")


class KeepMiddle:
    """Passes everything on to a sink, and keeps one output: the one in the middle, or the last before it."""

    def __init__(self, sink: Sink, info: StreamInfo) -> None:
        self.output: Output | None = None
        self._sink = sink
        self._wanted = (expected_frames(info) or 0) // 2

    def write(self, output: Output, /) -> None:
        """Pass it on."""
        self._sink.write(output)
        if self.output is None or output.frame.index <= self._wanted:
            self.output = output

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()


def write_sheet(output: Output, path: Path) -> None:
    """Four panels in a row, 480 pixels wide each, as PNG. Raises SinkError."""
    frame = output.frame
    mask = next(iter(mask_images(output.segmentation, frame.size).values()))
    replaced = Background(Picture(Frame.from_rgb(_sky(*frame.size))))(frame, output.segmentation, ())
    panels = (
        frame.bgr,
        np.repeat(as_u8(mask)[..., None], 3, axis=2),
        output.picture.bgr,
        Compositor()(frame, replaced).bgr,
    )
    shown = [_captioned(panel, caption) for panel, caption in zip(panels, _CAPTIONS, strict=True)]
    row = cv2.hconcat([cv2.copyMakeBorder(s, 0, 0, _GAP, 0, cv2.BORDER_CONSTANT, value=_WHITE) for s in shown])
    row = cv2.copyMakeBorder(row, 0, _GAP, 0, _GAP, cv2.BORDER_CONSTANT, value=_WHITE)
    write_whole(path, encode_image(row, path, (cv2.IMWRITE_PNG_COMPRESSION, 6)))


def _captioned(panel: U8, caption: str) -> U8:
    height = max(1, round(_WIDTH * panel.shape[0] / panel.shape[1]))
    small = cv2.resize(panel, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    text = text_alpha(caption, _BAND // 2)
    band = np.full((_BAND, _WIDTH), 255, np.uint8)
    top = (_BAND - text.shape[0]) // 2
    band[top : top + text.shape[0], : text.shape[1]] -= text
    return np.vstack([np.repeat(band[..., None], 3, axis=2), small]).astype(np.uint8)


def _sky(width: int, height: int) -> U8:
    """A made-up evening: dark blue above, warm below, and lights that are out of focus; RGB uint8 HxWx3."""
    rows = np.linspace(0.0, 1.0, height)
    stops = np.array([[38, 48, 92], [122, 92, 140], [240, 150, 110], [252, 214, 150]], float)
    column = np.stack([np.interp(rows, np.linspace(0.0, 1.0, len(stops)), stops[:, c]) for c in range(3)], axis=1)
    picture: NDArray[np.float64] = np.repeat(column[:, None], width, axis=1)
    generator = np.random.default_rng(7)
    for x, y, size, glow in generator.uniform(size=(26, 4)):
        disc = np.zeros((height, width), np.uint8)
        centre = (round(x * width), round((0.35 + 0.65 * y) * height))
        cv2.circle(disc, centre, round((0.02 + 0.06 * size) * height), 255, cv2.FILLED, cv2.LINE_AA)
        picture += (disc / 255.0 * (0.08 + 0.2 * glow))[..., None] * (np.array([255.0, 226.0, 180.0]) - picture)
    return np.rint(np.clip(picture, 0, 255)).astype(np.uint8)
