"""One picture from wherever Python has it: a path, an address, bytes, PIL's or an array; RGB, upright, limited."""

from __future__ import annotations

import io
import os
import warnings
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

import numpy as np

from rtseg.errors import (
    ConfigError,
    FrameError,
    SourceError,
    SourceNotFound,
    SourceStalled,
    SourceTooLarge,
    SourceUnreadable,
)
from rtseg.fetching import Fetcher, anywhere, is_public
from rtseg.frame import shapes_of
from rtseg.ops.arrays import U8
from rtseg.places import clean_path

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "str | PathLike[str] | bytes | bytearray | memoryview | Image | U8"

AllowUrls: TypeAlias = bool | Literal["private"]
"""Whether pictures may be fetched: not at all, from public addresses, or also from private ones."""

MAX_PIXELS = 50_000_000
MAX_BYTES = 100_000_000

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "AVIF", "GIF", "PPM", "JPEG2000", "TGA")
"""What is decoded: no EPS, which PIL hands to Ghostscript, and nothing that is hardly ever a photograph."""

_TIMEOUT = 30.0


def load_picture(image: Picture, *, allow_urls: AllowUrls = False, max_pixels: int = MAX_PIXELS) -> U8:
    """RGB uint8 HxWx3 of a path, an address, an encoded picture's bytes, a PIL image, or an array.

    An array is RGB uint8 HxWx3, as it is. Files are turned upright as EXIF says, alpha is dropped, and of moving
    pictures the first is taken. allow_urls: whether "https://..." may be fetched: True from public addresses, and
    through no proxy, "private" also from this machine and its network; redirects are held to the same. max_pixels:
    width x height above which nothing is decoded.

    Raises FrameError for other arrays, ConfigError for an address that is not allowed, SourceNotFound,
    SourceUnreadable, SourceTooLarge or SourceStalled.
    """
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise FrameError(f"a picture must be RGB uint8 of shape HxWx3, not {shapes_of((image,))}")
        _check(image.shape[1], image.shape[0], "the array", max_pixels)
        return image
    if isinstance(image, bytes | bytearray | memoryview):
        return _decoded(bytes(image), "the picture", max_pixels)
    if isinstance(image, str | PathLike):
        text = os.fspath(image)
        if "://" in text[:16]:
            return _decoded(_fetched(text, allow_urls), _without_secrets(text), max_pixels)
        return _decoded(_bytes_of(text), text, max_pixels)
    from PIL import Image

    given: object = image
    if not isinstance(given, Image.Image):
        kinds = "a path, bytes, a PIL image, or RGB uint8 HxWx3"
        raise ConfigError(f"image is {type(given).__name__}: it must be {kinds}")
    _check(*given.size, "the picture", max_pixels)
    return _upright(given)


def _decoded(data: bytes, name: str, max_pixels: int) -> U8:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the cap here is lower than PIL's
            opened = Image.open(io.BytesIO(data), formats=_FORMATS)
        with opened:
            _check(*opened.size, name, max_pixels)
            return _upright(opened)
    except Image.DecompressionBombError as error:
        raise SourceTooLarge(f"{name} is over {max_pixels} pixels, the most that is decoded: {error}") from error
    except UnidentifiedImageError as error:
        raise SourceUnreadable(f"{name} is no picture: known are {', '.join(_FORMATS)}") from error
    except SourceError:
        raise
    except Exception as error:  # PIL's decoders raise whatever a damaged file makes of them
        raise SourceUnreadable(f"{name} is a damaged picture: {error}") from error


def _upright(image: Image) -> U8:
    from PIL import ImageOps

    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _check(width: int, height: int, name: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise SourceTooLarge(
            f"{name} is {width}x{height}, {width * height} pixels: allowed are {max_pixels}; make it smaller, or raise "
            "max_pixels"
        )


def _bytes_of(text: str) -> bytes:
    try:
        path = clean_path(text)
        if path.is_dir():
            raise SourceUnreadable(f"{text} is a folder: give one picture, or the folder to `rtseg segment`")
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise SourceNotFound(f"{text} does not exist: give the path of a picture") from error
    except SourceError:
        raise
    except (OSError, ValueError) as error:
        raise SourceUnreadable(f"{text!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _fetched(address: str, allowed: AllowUrls) -> bytes:
    scheme, name = urlsplit(address).scheme, _without_secrets(address)
    if not allowed:
        raise ConfigError(f"{name} is an address, and these are off: give a file, or allow_urls=True")
    if scheme not in ("http", "https"):
        raise ConfigError(f"{name} is not http or https: give a file's path without {scheme}://")
    fetch = Fetcher(max_bytes=MAX_BYTES, timeout=_TIMEOUT, allowed=anywhere if allowed == "private" else is_public)
    try:
        return fetch(address)
    except ConfigError as error:
        more = "" if allowed == "private" else '; allow_urls="private" takes those of your own network too'
        raise ConfigError(f"{name} is not fetched: {error}{more}") from error
    except SourceNotFound as error:
        raise SourceNotFound(f"{name} does not exist ({error}): correct the address") from error
    except SourceStalled as error:
        raise SourceStalled(f"{name} did not arrive in {_TIMEOUT:g} s: try again, or fetch it yourself") from error
    except SourceTooLarge as error:
        raise SourceTooLarge(
            f"{name} is over {MAX_BYTES} bytes, the most that is fetched: give a smaller picture"
        ) from error
    except SourceError as error:
        raise SourceUnreadable(f"{name} cannot be fetched: {error}") from error


def _without_secrets(address: str) -> str:
    """The address without user, password and query, for messages."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
