from __future__ import annotations

import http.server
import io
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import pictures
from PIL import Image

from rtseg import loading
from rtseg.errors import (
    ConfigError,
    FrameError,
    SourceNotFound,
    SourceTooLarge,
    SourceUnreadable,
)
from rtseg.loading import load_picture

PICTURE = pictures()[0]


def encoded(picture: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, **options)
    return file.getvalue()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server of `tmp_path` on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path), **more)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_picture_is_turned_upright_as_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to show it
    np.testing.assert_array_equal(load_picture(encoded(PICTURE, format="PNG", exif=exif)), np.rot90(PICTURE, -1))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "I;16"])
def test_every_mode_becomes_rgb_as_pil_does_it(mode: str) -> None:
    picture = Image.fromarray(PICTURE)
    picture = picture.convert("L").convert("I;16") if mode == "I;16" else picture.convert(mode)
    wanted = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(load_picture(picture), wanted)
    np.testing.assert_array_equal(load_picture(encoded(picture, format="TIFF")), wanted)


@pytest.mark.parametrize("array", [PICTURE[..., :2], PICTURE[..., 0], PICTURE.astype(np.float32), PICTURE[:0]])
def test_other_arrays_are_refused(array: Any) -> None:
    with pytest.raises(FrameError, match="a picture must be RGB uint8 of shape HxWx3, not "):
        load_picture(array)


def test_other_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="image is int: it must be a path, bytes"):
        load_picture(3)  # type: ignore[arg-type]
    with pytest.raises(SourceNotFound, match=r"none.png does not exist"):
        load_picture(tmp_path / "none.png")
    with pytest.raises(SourceUnreadable, match="is a folder: give one picture"):
        load_picture(tmp_path)
    with pytest.raises(SourceUnreadable, match="cannot be read: a path cannot have a NUL"):
        load_picture("a\0b")
    for data in (b"", b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"):
        with pytest.raises(SourceUnreadable, match="the picture is no picture: known are PNG"):
            load_picture(data)
    with pytest.raises(SourceUnreadable, match="is a damaged picture"):
        load_picture(encoded(PICTURE, format="JPEG")[:900])


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
    bomb += struct.pack(">I", zlib.crc32(b"IHDR" + header)) + struct.pack(">I", 0) + b"IDAT" + b"\0" * 4
    with pytest.raises(SourceTooLarge, match="pixels"):
        load_picture(bomb)
    for form in (PICTURE, Image.fromarray(PICTURE), encoded(PICTURE, format="PNG")):
        with pytest.raises(SourceTooLarge, match="is 97x61, 5917 pixels: allowed are 5000"):
            load_picture(form, max_pixels=5000)


def test_an_address_is_fetched_only_when_that_is_allowed(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(encoded(PICTURE, format="PNG"))
    secret = address.replace("http://", "http://me:secret@") + "/a.png?token=secret"
    with pytest.raises(ConfigError, match="is an address, and these are off") as caught:
        load_picture(secret)
    assert "secret" not in str(caught.value)
    np.testing.assert_array_equal(load_picture(f"{address}/a.png", allow_urls="private"), PICTURE)
    with pytest.raises(SourceNotFound, match=r"none.png does not exist \(127.0.0.1 answered 404\)"):
        load_picture(f"{address}/none.png", allow_urls="private")
    with pytest.raises(ConfigError, match="is not http or https"):
        load_picture(f"file://{tmp_path}/a.png", allow_urls="private")
    with pytest.raises(SourceUnreadable, match="cannot be fetched"):
        load_picture("http://127.0.0.1:1/a.png", allow_urls="private")
    monkeypatch.setattr(loading, "MAX_BYTES", 100)
    with pytest.raises(SourceTooLarge, match="is over 100 bytes"):
        load_picture(f"{address}/a.png", allow_urls="private")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "0.0.0.0"])
def test_private_addresses_are_fetched_from_only_when_that_is_said(host: str) -> None:
    with pytest.raises(ConfigError, match=r'is no public address: .*; allow_urls="private" takes those'):
        load_picture(f"http://{host}:1/a.png", allow_urls=True)


def test_a_redirect_to_a_private_address_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As public counts one address of this machine, as private another."""
    from test_service_fetch import serving, trap

    monkeypatch.setattr(loading, "is_public", lambda address: str(address) == "127.0.0.1")
    with trap(serving(encoded(PICTURE, format="PNG"))) as inside:
        moved = f"Location: http://127.0.0.2:{inside.port}/a.png"
        with trap(serving(b"", "302 Found", moved)) as outside:
            address = f"http://127.0.0.1:{outside.port}/a.png"
            with pytest.raises(ConfigError, match=r"127\.0\.0\.2 is no public address"):
                load_picture(address, allow_urls=True)
            assert (len(outside.visits), inside.visits) == (1, [])
        ftp = serving(b"", "302 Found", "Location: ftp://127.0.0.1/a.png")
        with trap(ftp) as outside, pytest.raises(ConfigError, match="that is no address to fetch from"):
            load_picture(f"http://127.0.0.1:{outside.port}/a.png", allow_urls="private")
