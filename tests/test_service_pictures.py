from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from serving import encoded, picture

from rtseg.errors import ConfigError, SinkError, SourceTooLarge, SourceUnreadable
from rtseg.service.header import MAX_SCANS, check_header
from rtseg.service.pictures import read_picture, write_mask, write_picture
from rtseg.types import Frame

CAP = 50_000_000


def saved(kind: str, size: tuple[int, int] = (37, 21), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(side: int) -> bytes:
    """A PNG of a square of zeros, of a few bits a line."""
    lines = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    data = b"".join(lines.compress(row) for _ in range(side)) + lines.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG of a few pixels with a compressed comment of 100 million characters."""
    data = encoded(picture())
    return data[:33] + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000))) + data[33:]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("PNG", saved("PNG")),
        ("JPEG", saved("JPEG")),
        ("JPEG", saved("JPEG", progressive=True)),
        ("JPEG", saved("JPEG", exif=Image.Exif().tobytes(), comment=b"x" * 3000)),
        ("GIF", saved("GIF", mode="P")),
        ("BMP", saved("BMP")),
        ("WEBP", saved("WEBP")),
        ("WEBP", saved("WEBP", lossless=True)),
        ("WEBP", saved("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")),
    ],
)
def test_the_size_is_read_off_the_header(kind: str, data: bytes) -> None:
    assert check_header(data, max_pixels=CAP) == (kind, (37, 21))


def test_fill_bytes_before_a_jpeg_marker_are_passed_over() -> None:
    data = saved("JPEG")
    assert check_header(data[:2] + b"\xff\xff" + data[2:], max_pixels=CAP)[1] == (37, 21)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_the_cap_is_exact(kind: str) -> None:
    data = saved(kind, mode="P" if kind == "GIF" else "RGB")
    assert check_header(data, max_pixels=37 * 21)
    with pytest.raises(SourceTooLarge, match="37x21"):
        check_header(data, max_pixels=37 * 21 - 1)
    with pytest.raises(SourceTooLarge):
        read_picture(data, max_pixels=37 * 21 - 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_no_beginning_of_a_picture_is_taken_for_one(kind: str) -> None:
    data = encoded(picture()) if kind == "PNG" else saved(kind, mode="P" if kind == "GIF" else "RGB")
    for end in range(min(len(data) - 2, 160)):  # a GIF's last two bytes say only that it ends
        with pytest.raises((SourceUnreadable, SourceTooLarge)):
            read_picture(data[:end], max_pixels=CAP)


def test_a_first_picture_larger_than_its_gif_is_refused() -> None:
    small = bytearray(saved("GIF", (400, 300), mode="P"))
    small[6:10] = struct.pack("<HH", 1, 1)
    with pytest.raises(SourceTooLarge, match="400x300"):
        read_picture(bytes(small), max_pixels=1000)


def test_a_jpeg_of_too_many_scans_is_refused() -> None:
    data = saved("JPEG")
    with pytest.raises(SourceTooLarge, match="scans"):
        check_header(data + b"\xff\xda" * MAX_SCANS, max_pixels=CAP)
    with pytest.raises(SourceTooLarge, match=r"21 scans: allowed are 20"):
        check_header(data + b"\xff\xda" * 20, max_pixels=37 * 21)
    assert check_header(data + b"\xff\xda" * 19, max_pixels=37 * 21)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"ffconcat version 1.0\nfile '/etc/passwd'\n", b"<svg/>", b"GIF", b"II*\0", b"%PDF"]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(SourceUnreadable, match=r"JPEG, PNG, WebP, GIF and BMP|is empty"):
        read_picture(data, max_pixels=CAP)


def test_colours_come_through() -> None:
    pixels = np.full((20, 30, 3), (40, 120, 200), np.uint8)
    assert np.abs(read_picture(encoded(pixels), max_pixels=CAP).bgr.astype(int) - pixels).max() <= 1


def test_alpha_is_kept_where_it_says_something() -> None:
    pixels = np.full((4, 6, 4), 255, np.uint8)
    assert read_picture(encoded(pixels), max_pixels=CAP).alpha is None
    pixels[1, 2, 3] = 7
    alpha = read_picture(encoded(pixels), max_pixels=CAP).alpha
    assert alpha is not None
    assert alpha[1, 2] == 7


def test_sixteen_bits_become_the_nearest_eight() -> None:
    grey = np.array([[0, 257 * 100 + 100, 257 * 100 + 200, 65535]], np.uint16)
    frame = read_picture(encoded(grey), max_pixels=CAP)  # type: ignore[arg-type]
    assert frame.planes[0].tolist() == [[0, 100, 101, 255]]


def test_exif_says_which_way_is_up() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_picture(saved("JPEG", exif=exif.tobytes()), max_pixels=CAP).size == (21, 37)


def test_each_picture_is_an_epoch_of_its_own() -> None:
    data = saved("PNG")
    assert read_picture(data, max_pixels=CAP).epoch != read_picture(data, max_pixels=CAP).epoch


def test_a_jpeg_has_no_transparency() -> None:
    frame = Frame.from_rgb(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(ConfigError, match="png or webp"):
        write_picture(frame, "jpeg")


def test_a_format_says_when_a_picture_is_too_wide_for_it() -> None:
    with pytest.raises(SinkError, match=r"answer\.webp"):
        write_picture(Frame.from_rgb(np.zeros((2, 16400, 3), np.uint8)), "webp")


def test_a_mask_is_a_png_of_one_channel() -> None:
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    with Image.open(io.BytesIO(write_mask(mask))) as opened:
        assert opened.mode == "L"
        assert np.array_equal(np.asarray(opened), mask)


def test_a_bomb_is_refused_though_its_bytes_are_few() -> None:
    bomb = png_bomb(20000)
    assert len(bomb) < 100_000
    with pytest.raises(SourceTooLarge, match="20000x20000"):
        read_picture(bomb, max_pixels=CAP)
