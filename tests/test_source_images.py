from __future__ import annotations

import logging
import struct
import threading
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from footage import in_child
from media import picture, samples, write_picture, write_video
from numpy.typing import NDArray

from rtseg.errors import ConfigError, SourceNotFound, SourceTooLarge, SourceUnreadable
from rtseg.ops.arrays import as_u8
from rtseg.sources.images import SUFFIXES, ImageFiles
from rtseg.types import Colour, Frame, Source


def colours(size: tuple[int, int] = (48, 32)) -> NDArray[np.uint8]:
    """RGB, smooth, with four corners that cannot be mistaken for each other."""
    corners = np.array([[[250, 20, 20], [20, 250, 20]], [[20, 20, 250], [230, 230, 30]]], np.uint8)
    return as_u8(cv2.resize(corners, size, interpolation=cv2.INTER_LINEAR))


def save(path: Path, rgb: NDArray[np.uint8] | None = None) -> Path:
    rgb = colours() if rgb is None else rgb
    assert cv2.imwrite(str(path), rgb[..., ::-1] if rgb.ndim == 3 else rgb, [cv2.IMWRITE_JPEG_QUALITY, 98])
    return path


def read(path: Path) -> Frame:
    (frame,) = ImageFiles([path])
    return frame


def error_of(frame: Frame, rgb: NDArray[np.uint8]) -> float:
    assert frame.rgb.shape == rgb.shape
    return float(np.abs(frame.rgb.astype(int) - rgb).mean())


def with_exif(path: Path, orientation: int, *, order: str) -> Path:
    """The same file with EXIF that says only this, where its format keeps EXIF."""
    tiff = b"II*\0" if order == "<" else b"MM\0*"
    tiff += struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    data = path.read_bytes()
    match path.suffix:
        case ".jpg":
            segment = b"Exif\0\0" + tiff
            data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
        case ".png":
            end = data.rindex(b"IEND") - 4
            data = data[:end] + chunk(b"eXIf", tiff) + data[end:]
        case ".webp":
            tiff = (b"Exif\0\0" if order == "<" else b"") + tiff  # both are seen in the wild
            data += b"EXIF" + struct.pack("<I", len(tiff)) + tiff
            data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
        case _:
            raise AssertionError(path)
    path.write_bytes(data)
    return path


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_files_come_in_the_order_given_and_folders_in_natural_order(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("shot10.png", "shot9.png", "Shot1.jpg", "shot2.BMP", "notes.txt", ".hidden"):
        save(folder / "x.png").rename(folder / name)
    (folder / "sub.png").mkdir()
    last = save(tmp_path / "a.png")
    source = ImageFiles([folder, last], rate=4)
    assert isinstance(source, Source)
    assert [path.name for path in source.paths] == ["Shot1.jpg", "shot2.BMP", "shot9.png", "shot10.png", "a.png"]
    info = source.info
    assert (info.frames, info.seconds) == (5, 1.25)
    assert info.rate == 4
    assert info.time_base == Fraction(1, 4)
    frames = list(source)
    assert [(frame.index, frame.time) for frame in frames] == [(0, 0), (1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)]
    assert source.counts["broken_images"] == 0
    assert source.failures == {}


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".avif", ".jp2", ".tga", ".jpeg", ".tiff", ".pgm"}))
def test_pictures_look_as_other_readers_show_them(suffix: str, tmp_path: Path) -> None:
    """Within 2.5 levels on average: JPEG, WebP and chroma of 4:2:0 are not exact, GIF has 256 colours."""
    path = save(tmp_path / f"a{suffix}")
    assert error_of(read(path), as_u8(cv2.imread(str(path)))[..., ::-1]) < 2.5


def test_a_jpeg_keeps_the_planes_that_it_is_made_of(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.jpg", picture(pixel_format="yuvj420p"), codec="mjpeg")
    with av.open(str(path)) as container:
        expected = samples(next(container.decode(video=0)))
    frame = read(path)
    assert frame.colour == Colour("bt601", full_range=True)
    for plane, other in zip(frame.planes, expected, strict=True):
        np.testing.assert_array_equal(plane, other)


def test_alpha_is_kept_to_the_level(tmp_path: Path) -> None:
    rgba = np.dstack([colours(), np.random.default_rng(0).integers(0, 256, (32, 48), np.uint8)])
    path = write_picture(tmp_path / "a.png", av.VideoFrame.from_ndarray(rgba, format="rgba"), codec="png")
    frame = read(path)
    np.testing.assert_array_equal(frame.alpha, rgba[..., 3])
    assert error_of(frame, rgba[..., :3]) < 1.5


def test_alpha_that_is_opaque_everywhere_is_none(tmp_path: Path) -> None:
    rgba = np.dstack([colours(), np.full((32, 48), 255, np.uint8)])
    path = write_picture(tmp_path / "a.png", av.VideoFrame.from_ndarray(rgba, format="rgba"), codec="png")
    assert read(path).alpha is None


def test_palettes_keep_their_colours_and_what_is_clear(tmp_path: Path) -> None:
    indices, palette = np.zeros((8, 8), np.uint8), [(255, 0, 0, 255), (0, 0, 255, 0)]
    indices[:, 4:] = 1
    lines = b"".join(b"\0" + bytes(line) for line in indices)
    head = struct.pack(">IIBBBBB", 8, 8, 8, 3, 0, 0, 0)
    colours_of = bytes(value for rgba in palette for value in rgba[:3])
    body = chunk(b"IHDR", head) + chunk(b"PLTE", colours_of) + chunk(b"tRNS", bytes(c[3] for c in palette))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + body + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )
    frame = read(tmp_path / "a.png")
    assert np.abs(frame.rgb[0, 0].astype(int) - (255, 0, 0)).max() <= 2
    assert frame.alpha is not None
    assert set(frame.alpha[:, :4].flat) == {255}
    assert set(frame.alpha[:, 4:].flat) == {0}


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_grey_keeps_its_levels(depth: type, tmp_path: Path) -> None:
    levels = np.tile(np.arange(256), (4, 1))
    save(tmp_path / "a.png", (levels * (1 if depth is np.uint8 else 257)).astype(depth))
    frame = read(tmp_path / "a.png")
    assert frame.colour.full_range
    assert np.abs(frame.planes[0].astype(int) - levels).max() <= 1


SHOWN = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}
"""EXIF orientations, as the standard draws them."""


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", SHOWN)
def test_the_orientation_of_exif_is_applied(orientation: int, suffix: str, order: str, tmp_path: Path) -> None:
    path = with_exif(save(tmp_path / f"a{suffix}"), orientation, order=order)
    assert error_of(read(path), SHOWN[orientation](colours())) < 6


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_nonsense_in_exif_is_ignored(orientation: int, tmp_path: Path) -> None:
    path = with_exif(save(tmp_path / "a.jpg"), orientation, order="<")
    assert error_of(read(path), colours()) < 6


@pytest.mark.parametrize("cut", [4, 8, 10, 20])
def test_exif_that_ends_early_is_ignored(cut: int, tmp_path: Path) -> None:
    data = save(tmp_path / "a.jpg").read_bytes()
    segment = b"Exif\0\0" + (b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0))[:cut]
    path = tmp_path / "b.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:])
    assert read(path).size in ((48, 32), (32, 48))


def test_broken_pictures_are_counted_and_explained_and_the_rest_is_read(tmp_path: Path) -> None:
    good = [save(tmp_path / name) for name in ("1.png", "4.jpg")]
    half = save(tmp_path / "2.jpg", colours((640, 480)))
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    (tmp_path / "3.png").write_text("no picture\n" * 20)
    source = ImageFiles([tmp_path])
    frames = list(source)
    assert [source.paths[frame.index] for frame in frames] == good
    assert [frame.pts for frame in frames] == [0, 3]
    assert source.counts["broken_images"] == 2
    assert set(source.failures) == {half, tmp_path / "3.png"}
    assert all(str(path) in reason for path, reason in source.failures.items())


def test_a_jpeg_that_ends_early_is_broken_rather_than_half_green(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", colours((640, 480)))
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(SourceUnreadable, match="damaged"):
        read(path)


def test_when_all_are_broken_an_error_is_raised_in_the_end(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    source = ImageFiles([tmp_path])
    with pytest.raises(SourceUnreadable, match="none of 2 pictures"):
        list(source)
    assert len(source.failures) == 2


def test_a_single_broken_picture_raises_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(SourceUnreadable, match=r"a\.png is empty"):
        list(ImageFiles([tmp_path / "a.png"]))


def test_another_size_begins_a_new_epoch(tmp_path: Path) -> None:
    paths = [
        save(tmp_path / f"{n}.png", colours(size))
        for n, size in enumerate([(48, 32)] * 2 + [(32, 48)] * 2 + [(48, 32)])
    ]
    assert [frame.epoch for frame in ImageFiles(paths)] == [0, 0, 1, 1, 2]


def test_a_picture_over_the_cap_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", colours((64, 32)))
    assert len(list(ImageFiles([path], max_pixels=64 * 32))) == 1
    with pytest.raises(SourceTooLarge, match=str(64 * 32 - 1)):
        list(ImageFiles([path], max_pixels=64 * 32 - 1))


def test_of_moving_pictures_the_first_is_taken(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", [picture(index) for index in range(3)])
    np.testing.assert_array_equal(read(path).planes[0], samples(picture(0))[0])


def test_what_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"none\.png"):
        ImageFiles([tmp_path / "none.png"])
    with pytest.raises(ConfigError, match="no picture in"):
        ImageFiles([tmp_path])
    with pytest.raises(ConfigError, match="an empty list"):
        ImageFiles([])
    with pytest.raises(ConfigError, match="rate"):
        ImageFiles([save(tmp_path / "a.png")], rate=0)


def test_a_file_that_vanishes_is_a_broken_picture(tmp_path: Path) -> None:
    gone, kept = save(tmp_path / "a.png"), save(tmp_path / "b.png")
    source = ImageFiles([gone, kept])
    gone.unlink()
    assert [frame.index for frame in source] == [1]
    assert "does not exist" in source.failures[gone]


def test_close_from_another_thread_ends_the_iteration(tmp_path: Path) -> None:
    source = ImageFiles([save(tmp_path / "a.png")] * 50)
    seen = []
    for frame in source:
        seen.append(frame.index)
        thread = threading.Thread(target=source.close)
        thread.start()
        thread.join()
    assert seen == [0]


def test_no_file_stays_open(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{number}.png") for number in range(20)]
    (tmp_path / "0.png").write_bytes(b"nothing")
    before = len(list(Path("/proc/self/fd").iterdir()))
    frames = list(ImageFiles(paths))
    assert len(frames) == 19
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("name", ["2.webp", "3.jpg", "7.jpg"])
def test_pictures_of_cameras_are_upright(name: str, shared: Path) -> None:
    """All show one portrait, after several lossy savings; any other way up it differs by 50 levels."""
    folder = shared / "corpus/pillow-images/Tests/images"
    one, other = read(folder / "hopper_orientation_6.jpg"), read(folder / f"hopper_orientation_{name}")
    assert np.abs(one.rgb.astype(int) - other.rgb).mean() < 10


def test_a_garbage_turn_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture, shared: Path) -> None:
    with caplog.at_level(logging.WARNING):
        frame = read(shared / "corpus/mp4parse-rust/mp4parse_capi/tests/no_timescale.mp4")
    assert frame.size == (320, 240)
    assert "no quarter turn" in caplog.text


def test_garbage_collection_survives_pictures_with_colour_profiles(shared: Path) -> None:
    """It crashes on frames whose `side_data` was asked for: PyAV ties them into cycles that it cannot take apart."""
    script = "import gc, sys; from rtseg.sources.images import ImageFiles; list(ImageFiles(sys.argv[1:])); gc.collect()"
    path = shared / "corpus/pillow-images/Tests/images/tiff_16bit_RGBa_target.png"
    assert in_child(script, str(path)) == ""
