"""Bytes to frames and frames to bytes; nothing here opens a file or an address."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from rtseg.errors import ConfigError, RtsegError, SourceUnreadable
from rtseg.ops.arrays import U8, as_u8
from rtseg.service.header import check_header, check_size
from rtseg.sinks.files import encode_image
from rtseg.sinks.images import FORMATS
from rtseg.types import Frame, Size

ImageFormat: TypeAlias = Literal["png", "webp", "jpeg"]
MEDIA_TYPES: dict[ImageFormat, str] = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}

_MASK_PARAMETERS = (16, 1)  # IMWRITE_PNG_COMPRESSION: masks are flat, more of it saves little and takes long
_requests = itertools.count(1)


def read_picture(data: bytes, *, max_pixels: int) -> Frame:
    """A picture as a frame of its own epoch, so that nothing remembers the one before it. Raises as `read_pixels`."""
    return Frame.from_rgb(read_pixels(data, max_pixels=max_pixels), epoch=next(_requests))


def read_pixels(data: bytes, *, max_pixels: int) -> U8:
    """RGB uint8 HxWx3, or RGBA where any pixel is not opaque.

    Upright by its EXIF; of moving pictures the first. Raises SourceUnreadable, and SourceTooLarge before anything is
    decoded.
    """
    kind, _ = check_header(data, max_pixels=max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as opened:
            check_size(Size(*opened.size), max_pixels)  # a GIF's first picture may be larger than its header says
            return _pixels(ImageOps.exif_transpose(opened))
    except RtsegError:
        raise
    except Exception as error:  # Pillow's decoders raise what they like: OSError, SyntaxError, struct.error, ...
        raise SourceUnreadable(f"the picture is damaged: {kind} data that cannot be decoded") from error


def _pixels(image: Image.Image) -> U8:
    """RGB or RGBA; 16 bits become the nearest 8."""
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        grey = np.clip(np.rint(wide / 257.0), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if not image.has_transparency_data:
        return as_u8(np.asarray(image.convert("RGB")))
    rgba = as_u8(np.asarray(image.convert("RGBA")))
    return rgba if bool((rgba[..., 3] != 255).any()) else rgba[..., :3]


def write_picture(frame: Frame, kind: ImageFormat) -> bytes:
    """An encoded picture, alpha not premultiplied; ConfigError for a JPEG of one, SinkError over a format's size."""
    if frame.alpha is not None and kind == "jpeg":
        raise ConfigError("JPEG has no transparency: ask for the format png or webp, or for an opaque background")
    bgr = np.ascontiguousarray(frame.bgr)
    pixels = bgr if frame.alpha is None else np.dstack([bgr, frame.alpha])
    return bytes(encode_image(pixels, Path(f"answer.{kind}"), FORMATS[kind]))


def write_mask(mask: U8) -> bytes:
    """A mask as a PNG of one channel."""
    return bytes(encode_image(mask, Path("mask.png"), _MASK_PARAMETERS))
