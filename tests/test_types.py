from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rtseg.errors import FrameError
from rtseg.types import Colour, Frame, Instances, Panoptic, Regions, SegmentInfo, Semantic, Size, masks_of


def grey(width: int, height: int, y: int = 100) -> Frame:
    small = ((height + 1) // 2, (width + 1) // 2)
    return Frame((np.full((height, width), y, np.uint8), np.full(small, 128, np.uint8), np.full(small, 128, np.uint8)))


def test_a_frame_is_read_only_and_does_not_copy() -> None:
    luma = np.zeros((4, 6), np.uint8)
    chroma = np.zeros((2, 3), np.uint8)
    frame = Frame((luma, chroma, chroma))
    assert np.shares_memory(frame.planes[0], luma)
    assert luma.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        frame.planes[0][0, 0] = 1


@pytest.mark.parametrize("shape", [(2, 3), (4, 3), (4, 6)])
def test_chroma_may_be_420_422_or_444(shape: tuple[int, int]) -> None:
    chroma = np.zeros(shape, np.uint8)
    assert Frame((np.zeros((4, 6), np.uint8), chroma, chroma)).size == Size(6, 4)


def test_planes_of_wrong_shape_or_type_are_refused_with_their_shapes() -> None:
    luma, chroma = np.zeros((4, 6), np.uint8), np.zeros((2, 3), np.uint8)
    with pytest.raises(FrameError, match=r"4:2:0, 4:2:2 or 4:4:4.*uint8\[2x2\]"):
        Frame((luma, chroma, chroma[:, :2]))
    with pytest.raises(FrameError, match="uint8"):
        Frame((luma.astype(np.float32), chroma, chroma))
    with pytest.raises(FrameError, match="alpha must be uint8 of the shape of Y"):
        Frame((luma, chroma, chroma), alpha=chroma)
    with pytest.raises(FrameError, match="HxWx3 or HxWx4"):
        Frame.from_rgb(luma)


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [True, False])
def test_rgb_survives_the_way_to_planes_and_back(matrix: str, full_range: bool) -> None:
    colour = Colour(matrix, full_range)  # type: ignore[arg-type]
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[:20, :30], rgb[20:, :30], rgb[:20, 30:], rgb[20:, 30:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (250, 240, 10)
    back = Frame.from_rgb(rgb, colour=colour).rgb
    # Away from the edges, where chroma is shared by two colours, only 8-bit rounding remains: at most 2 levels in
    # limited range, where one code of chroma is worth 1.9 levels of blue, each way.
    inner = np.r_[2:18, 22:38], np.r_[2:28, 32:58]
    assert np.abs(back[np.ix_(*inner)].astype(int) - rgb[np.ix_(*inner)]).max() <= 3


def test_bgr_is_the_mirror_of_rgb() -> None:
    bgr = np.zeros((4, 4, 3), np.uint8)
    bgr[..., 2] = 200
    frame = Frame.from_bgr(bgr)
    assert frame.rgb[0, 0, 0] > 190
    assert frame.bgr[0, 0, 2] > 190


def test_rgba_keeps_its_alpha_to_the_byte() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    alpha = Frame.from_rgb(rgba).alpha
    assert alpha is not None
    np.testing.assert_array_equal(alpha, rgba[..., 3])


def test_resized_is_made_once_a_size() -> None:
    frame = grey(64, 48)
    assert frame.resized((16, 12)) is frame.resized((16, 12))
    assert frame.resized((16, 12)).shape == (12, 16, 3)
    assert frame.luma((16, 12)).shape == (12, 16)


def test_resized_does_not_shift_the_picture() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (144, 1)).repeat(5, axis=1).repeat(5, axis=0)
    chroma = np.full((360, 640), 128, np.uint8)
    small = Frame((ramp, chroma, chroma), Colour("bt601", full_range=True)).luma((256, 144))
    np.testing.assert_allclose(small[0, 2:-2], np.arange(256)[2:-2], atol=1)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 3), (161, 121), (2, 999)])
def test_odd_and_tiny_frames_resize(width: int, height: int) -> None:
    frame = grey(width, height)
    assert frame.resized((32, 16)).shape == (16, 32, 3)
    assert frame.rgb.shape == (height, width, 3)


def test_time_is_pts_times_time_base() -> None:
    frame = grey(2, 2)
    assert Frame(frame.planes, pts=1001, time_base=Fraction(1, 30000)).time == pytest.approx(1001 / 30000)


def test_repr_prints_shapes() -> None:
    assert repr(grey(6, 4)).startswith("Frame(6x4 uint8[4x6], uint8[2x3], uint8[2x3] bt709, index=0, pts=0")


def test_results_come_as_label_score_mask() -> None:
    half = np.zeros((2, 4, 4), np.uint8)
    half[0, :2] = 255
    person, lane = Regions(half, ("person", "lane"), 0, Size(8, 8)).segments()
    assert (person["label"], person["score"]) == ("person", 1.0)
    assert (lane["label"], lane["score"]) == ("lane", 0.0)

    labels = np.array([[0, 2], [2, 255]], np.uint8)
    road, car = Semantic(labels, ("road", "tree", "car"), 0, Size(2, 2)).segments()
    assert (road["label"], car["label"], car["score"]) == ("road", "car", None)
    np.testing.assert_array_equal(car["mask"], [[0, 255], [255, 0]])

    things = Panoptic(np.array([[1, 1], [2, -1]], np.int32), (SegmentInfo(2, 0, 0.5),), ("cat",), 0, Size(2, 2))
    np.testing.assert_array_equal(things.segments()[0]["mask"], [[0, 0], [255, 0]])


def test_masks_of_unites_instances_of_one_class() -> None:
    masks = np.zeros((2, 2, 2), np.uint8)
    masks[0, 0, 0] = masks[1, 1, 1] = 255
    cats = Instances(
        masks, np.zeros((2, 4), np.float32), np.zeros(2, np.int64), np.ones(2, np.float32), ("cat",), 0, Size(2, 2)
    )
    np.testing.assert_array_equal(masks_of(cats)["cat"], [[255, 0], [0, 255]])


def test_results_of_wrong_shape_are_refused() -> None:
    with pytest.raises(FrameError, match="2xHxW"):
        Regions(np.zeros((1, 4, 4), np.uint8), ("a", "b"), 0, Size(4, 4))
    with pytest.raises(FrameError, match="agree on N"):
        Instances(
            np.zeros((2, 4, 4), np.uint8),
            np.zeros((1, 4), np.float32),
            np.zeros(2, np.int64),
            np.zeros(2, np.float32),
            ("a",),
            0,
            Size(4, 4),
        )
    with pytest.raises(FrameError, match="uint8 or uint16"):
        Semantic(np.zeros((4, 4), np.int32), ("a",), 0, Size(4, 4))  # type: ignore[arg-type]
