"""Writes each output's picture as an image file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Self

import cv2
import numpy as np

from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.sinks.files import encode_image, make_folder, sync_folder, write_whole
from rtseg.sinks.names import Stems
from rtseg.types import Frame, Output

FORMATS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "png": (cv2.IMWRITE_PNG_COMPRESSION, 3),
        "jpg": (cv2.IMWRITE_JPEG_QUALITY, 95),
        "jpeg": (cv2.IMWRITE_JPEG_QUALITY, 95),
        "webp": (cv2.IMWRITE_WEBP_QUALITY, 95),
    }
)
"""Endings, and OpenCV's parameters for them. WebP's colours are lossy; its alpha is not."""


class ImageFolder:
    """`<folder>/<stem>.<format>` for each output; each file appears when it is whole.

    format: "png", "jpg", "jpeg" or "webp". names: stems in order of `Frame.index`, six-digit numbers without. Alpha
    is kept as it is, not premultiplied. Files of the same name are replaced.

    Raises ConfigError for what cannot work, JPEG for a picture with alpha included (it would show what was to be
    transparent), SinkError or DiskFull where a file cannot be written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        format: str = "png",  # noqa: A002
        names: Sequence[str] | None = None,
    ) -> None:
        self.format = format.lower().removeprefix(".")
        if self.format not in FORMATS:
            raise ConfigError(f"unknown image format {format!r}: use one of {', '.join(FORMATS)}")
        self._stems = Stems(names)
        self._folder = make_folder(folder)

    def write(self, output: Output, /) -> None:
        """Write `output.picture`."""
        picture = output.picture
        if picture.alpha is not None and self.format in ("jpg", "jpeg"):
            raise ConfigError("JPEG has no transparency: use the format png or webp, or a background that is opaque")
        path = self._folder / f"{self._stems[output.frame.index]}.{self.format}"
        write_whole(path, encode_image(_pixels(picture), path, FORMATS[self.format]))

    def close(self) -> None:
        """Make the files' names durable."""
        sync_folder(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pixels(picture: Frame) -> U8:
    """BGR or BGRA, as OpenCV wants it."""
    if picture.alpha is None:
        return np.ascontiguousarray(picture.bgr)
    return np.dstack([picture.bgr, picture.alpha])
