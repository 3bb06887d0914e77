"""What becomes of the formats that FFmpeg decodes to."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import av
import numpy as np
import pytest
from media import fill, picture, samples
from numpy.typing import NDArray

from rtseg.ops.colour import Colour, rgb_to_planes
from rtseg.sources.planes import UPRIGHT, PlaneReader, colour_of, orientation_of, upright

NATIVE = ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p", "yuva420p", "yuva444p"]


def ramp(pixel_format: str, *, size: tuple[int, int] = (64, 16), bits: int = 8, **tags: int) -> av.VideoFrame:
    """Luma that climbs from 0 to the highest level from left to right, neutral chroma, opaque."""
    frame = av.VideoFrame(*size, pixel_format)
    for number, plane in enumerate(frame.planes):
        levels = np.linspace(0, 2**bits - 1, plane.width).round() if number == 0 else [2 ** (bits - 1)] * plane.width
        fill(plane, np.tile(np.asarray(levels, np.uint8 if bits == 8 else np.uint16), (plane.height, 1)))
    for name, value in tags.items():
        setattr(frame, name, value)
    return frame


@pytest.mark.parametrize("size", [(64, 48), (161, 121), (1, 1), (3, 3)], ids=str)
@pytest.mark.parametrize("pixel_format", NATIVE)
def test_8_bit_planes_are_the_decoders_own_memory(pixel_format: str, size: tuple[int, int]) -> None:
    frame = picture(size=size, pixel_format=pixel_format)
    planes, _, alpha = PlaneReader()(frame)
    assert (alpha is not None) == pixel_format.startswith("yuva")
    views = [*planes, *([] if alpha is None else [alpha])]
    for view, plane, expected in zip(views, frame.planes, samples(frame), strict=True):
        np.testing.assert_array_equal(view, expected)
        assert view.__array_interface__["data"][0] == plane.buffer_ptr
        assert not view.flags.writeable


def test_planes_outlive_the_frame_that_they_are_views_of() -> None:
    frame = picture(size=(640, 360))
    expected = samples(frame)[0]
    (luma, _, _), _, _ = PlaneReader()(frame)
    gone = weakref.ref(luma)
    del frame
    gc.collect()
    others = [picture(9, size=(640, 360)) for _ in range(8)]  # would take the memory if it were free
    np.testing.assert_array_equal(luma, expected)
    del luma, others
    assert gone() is None


@pytest.mark.parametrize(
    ("pixel_format", "chroma"),
    [
        ("nv12", (8, 16)),
        ("nv16", (16, 16)),
        ("yuyv422", (16, 16)),
        ("yuv411p", (16, 16)),
        ("yuv410p", (8, 16)),
        ("yuv440p", (16, 32)),
        ("rgb24", (16, 32)),
        ("gbrp", (16, 32)),
        ("gray", (8, 16)),
        ("gray16le", (8, 16)),
        ("ya8", (8, 16)),
        ("monow", (8, 16)),
    ],
)
def test_other_formats_become_the_nearest_planes(pixel_format: str, chroma: tuple[int, int]) -> None:
    source = picture(size=(32, 16), pixel_format="yuv444p").reformat(format=pixel_format)
    (y, u, v), _, alpha = PlaneReader()(source)
    assert (y.shape, u.shape, v.shape) == ((16, 32), chroma, chroma)
    assert (alpha is not None) == (pixel_format == "ya8")


def test_nv12_keeps_every_sample() -> None:
    planar = picture(size=(64, 48))
    planes, _, _ = PlaneReader()(planar.reformat(format="nv12"))
    for plane, expected in zip(planes, samples(planar), strict=True):
        np.testing.assert_array_equal(plane, expected)


@pytest.mark.parametrize("pixel_format", ["rgb24", "bgr24", "gbrp", "rgb48le"])
def test_rgb_becomes_full_range_bt601_within_one_level(pixel_format: str) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (32, 64, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixel_format)
    planes, colour, _ = PlaneReader()(frame)
    assert colour == Colour("bt601", full_range=True)
    dither = pixel_format == "rgb48le"
    for plane, expected in zip(planes, rgb_to_planes(rgb, colour, subsample=(1, 1)), strict=True):
        assert np.abs(plane.astype(int) - expected).max() <= 1 + dither


@pytest.mark.parametrize("pixel_format", ["rgba", "bgra", "argb", "abgr", "gbrap", "rgba64le", "rgba64be"])
def test_alpha_is_kept_to_the_level(pixel_format: str) -> None:
    """swscale alone would be a level off in half the samples."""
    rgba = np.random.default_rng(2).integers(0, 256, (32, 65, 4), np.uint8)
    frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pixel_format)
    _, _, alpha = PlaneReader()(frame)
    assert alpha is not None
    np.testing.assert_array_equal(alpha, rgba[..., 3])


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_alpha_of_more_bits_gives_its_upper_8(bits: int) -> None:
    frame = av.VideoFrame(256, 16, f"yuva444p{bits}le")
    levels = np.tile(np.arange(256, dtype=np.uint16), (16, 1))
    for plane in frame.planes:
        fill(plane, levels << (bits - 8) | 3)
    _, _, alpha = PlaneReader()(frame)
    np.testing.assert_array_equal(alpha, levels)


def test_grey_with_alpha_keeps_alpha() -> None:
    frame = av.VideoFrame(8, 4, "ya8")
    pairs = np.arange(64, dtype=np.uint8).reshape(4, 16)
    fill(frame.planes[0], pairs)
    _, _, alpha = PlaneReader()(frame)
    np.testing.assert_array_equal(alpha, pairs[:, 1::2])


@pytest.mark.parametrize(
    ("pixel_format", "tags", "full"),
    [
        ("gray", {}, True),
        ("gray", {"color_range": 1}, False),
        ("gray16le", {}, True),
        ("gray16le", {"color_range": 1}, False),
    ],
)
def test_grey_keeps_its_levels_and_is_full_range_unless_it_says_otherwise(
    pixel_format: str, tags: dict[str, int], full: bool
) -> None:
    levels = np.tile(np.arange(256), (4, 1))
    frame = av.VideoFrame(256, 4, pixel_format)
    fill(frame.planes[0], levels.astype(np.uint8) if pixel_format == "gray" else (levels * 257).astype(np.uint16))
    for name, value in tags.items():
        setattr(frame, name, value)
    (y, u, v), colour, _ = PlaneReader()(frame)
    assert colour.full_range is full
    assert np.abs(y.astype(int) - levels).max() <= (0 if pixel_format == "gray" else 1)
    assert (u == 128).all()
    assert (v == 128).all()


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le"])
def test_more_bits_are_dithered_to_8_without_bands(pixel_format: str) -> None:
    bits = 12 if "12" in pixel_format else 10
    frame = ramp(pixel_format, size=(1024, 64), bits=bits)
    (y, _, _), _, _ = PlaneReader()(frame)
    exact = np.linspace(0, 2**bits - 1, 1024).round() / 2 ** (bits - 8)
    inner = slice(8, -8)  # the uppermost levels have nothing above them to be dithered with
    error = (y.mean(axis=0) - exact)[inner]
    assert abs(error.mean()) < 0.25, "levels are cut off, not rounded"
    assert np.abs(error).max() < 0.8
    flat = [len(np.unique(column)) == 1 for column in y.T[inner]]
    assert np.mean(flat) < 0.6, "bands"


@pytest.mark.parametrize(
    ("tags", "height", "expected"),
    [
        ({"colorspace": 1}, 48, Colour("bt709")),
        ({"colorspace": 5}, 1080, Colour("bt601")),
        ({"colorspace": 6}, 1080, Colour("bt601")),
        ({"colorspace": 9}, 48, Colour("bt2020")),
        ({}, 576, Colour("bt601")),
        ({}, 720, Colour("bt709")),
        ({"color_range": 2}, 720, Colour("bt709", full_range=True)),
        ({"color_range": 1, "colorspace": 1}, 48, Colour("bt709")),
    ],
)
def test_matrix_and_range_are_the_streams_or_guessed_by_height(
    tags: dict[str, int], height: int, expected: Colour
) -> None:
    frame = av.VideoFrame(64, height, "yuv420p")
    for name, value in tags.items():
        setattr(frame, name, value)
    assert colour_of(frame) == expected


def test_yuvj_is_full_range() -> None:
    assert colour_of(av.VideoFrame(64, 48, "yuvj420p")).full_range


@pytest.mark.parametrize("full_range", [False, True])
def test_hdr10_comes_out_as_bright_as_sdr(full_range: bool) -> None:
    """Diffuse white, 203 nits, is code 0.5807 in PQ (BT.2408, 2.1): x = 1 in the curve, (1 + 1 / w^2) / 2 in light."""
    black, span = (0, 255) if full_range else (16, 219)
    frame = ramp("yuv420p", size=(256, 16), color_trc=16, colorspace=9, color_range=2 if full_range else 1)
    (y, u, v), colour, _ = PlaneReader()(frame)
    assert colour == Colour("bt2020", full_range)
    white = round(black + 0.5807 * span)
    expected = black + span * (0.5 * (1 + (203 / 4000) ** 2)) ** (1 / 2.4)
    assert abs(int(y[0, white]) - expected) <= 2  # the code is rounded to 1 in 219, and the curve climbs by 1.3
    assert (np.diff(y[0].astype(int)) >= 0).all()
    assert y[0, black] == black
    assert (u == 128).all()
    assert (v == 128).all()


def test_hlg_and_sdr_are_left_alone() -> None:
    for transfer in (1, 2, 18):
        frame = ramp("yuv420p", color_trc=transfer)
        np.testing.assert_array_equal(PlaneReader()(frame)[0][0], samples(frame)[0])


def test_a_converter_is_kept_whatever_the_formats() -> None:
    """A scaler alive for each frame would be 60 x 0.7 MB here."""
    reader = PlaneReader()
    kept = [reader(picture(size=(256, 64), pixel_format="yuv444p").reformat(format="nv24"))]
    before = memory()
    kept += [reader(ramp("yuv420p10le", size=(256, 64), bits=10)) for _ in range(200)]
    planes = 200 * 256 * 64 * 3 // 2
    assert memory() - before < planes + 12_000_000


def memory() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no file of ours
        return int(file.read().split()[1]) * 4096


def turned(array: NDArray[Any], angle: int, mirrored: bool) -> NDArray[Any]:
    """NumPy's view of it: a mirrored display matrix mirrors what the same angle would show, before turning it."""
    return np.rot90(array[::-1] if mirrored else array, angle // 90)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0, 90, 180, -90, -180, 270 - 360])
def test_planes_turn_and_mirror_to_the_sample(angle: int, mirrored: bool, pixel_format: str) -> None:
    frame = picture(size=(64, 48), pixel_format=pixel_format)
    planes, _, _ = upright(PlaneReader()(frame), orientation_of(angle, mirrored=mirrored))
    for plane, original in zip(planes, samples(frame), strict=True):
        np.testing.assert_array_equal(plane, turned(original, angle, mirrored))


@pytest.mark.parametrize(("pixel_format", "size"), [("yuv422p", (64, 48)), ("yuv420p", (33, 17))])
def test_chroma_that_cannot_be_turned_is_enlarged_first(pixel_format: str, size: tuple[int, int]) -> None:
    frame = picture(size=size, pixel_format=pixel_format)
    (y, u, v), _, _ = upright(PlaneReader()(frame), orientation_of(90))
    assert y.shape == u.shape == v.shape == size
    flat = np.asarray(np.rot90(samples(frame)[1], 1), np.float64)
    assert abs(u.mean() - flat.mean()) < 1


def test_alpha_turns_too() -> None:
    frame = picture(pixel_format="yuva420p")
    _, _, alpha = upright(PlaneReader()(frame), orientation_of(90))
    np.testing.assert_array_equal(alpha, np.rot90(samples(frame)[3]))


def test_what_is_upright_is_not_copied() -> None:
    read = PlaneReader()(picture())
    assert upright(read, UPRIGHT) is read


@pytest.mark.parametrize("angle", [45, -2147483648, 30, 91 + 45])
def test_other_angles_are_refused(angle: int) -> None:
    with pytest.raises(ValueError, match=str(angle)):
        orientation_of(angle)
