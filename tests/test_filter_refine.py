from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from test_filter_smooth import frame_of, regions_of
from test_ops_matte import disc

from rtseg import store
from rtseg.filters.refine import EdgeRefine
from rtseg.inference.engine import OrtEngine
from rtseg.ops.arrays import U8, as_u8
from rtseg.segmenters.regions import RegionSegmenter
from rtseg.types import Filter, Frame, Instances, Regions

pytestmark = pytest.mark.usefixtures("either_loops")


def refined(frame: Frame, *masks: U8) -> U8:
    result = EdgeRefine()(frame, regions_of(*masks, frame=frame))
    assert isinstance(result, Regions)
    assert (result.pts, result.size) == (frame.pts, frame.size)
    return result.probabilities


@pytest.mark.parametrize(
    ("frame", "mask", "expected"),
    [
        ((1280, 720), (256, 144), (640, 360)),
        ((1920, 1080), (256, 144), (480, 270)),
        ((3840, 2160), (256, 144), (480, 270)),
        ((640, 480), (256, 144), (320, 240)),
        ((721, 1281), (256, 256), (360, 640)),
        ((300, 200), (256, 144), (256, 144)),
    ],
)
def test_masks_become_about_twice_as_fine_and_no_finer_than_half_the_frame(
    frame: tuple[int, int], mask: tuple[int, int], expected: tuple[int, int]
) -> None:
    picture = frame_of(np.full(frame[::-1], 90, np.uint8))
    assert refined(picture, disc(mask, (60, 60), 40)).shape == (1, *expected[::-1])


def test_an_edge_is_drawn_where_the_frame_has_it() -> None:
    """The network's edge is 8 pixels of a 720p frame off and 40 wide; afterwards at most 2 off and 14 wide."""
    luma = np.full((720, 1280), 50, np.uint8)
    luma[:, 648:] = 210
    ramp = np.clip(((np.arange(256) + 0.5) * 5 - 640) / 40 + 0.5, 0, 1)
    mask = np.tile(np.rint(255 * ramp).astype(np.uint8), (144, 1))
    (fine,) = refined(frame_of(luma), mask)
    alpha = cv2.resize(fine, (1280, 720))[360]
    assert int(np.argmax(alpha >= 128)) == pytest.approx(648, abs=2)
    assert int(((alpha > 25) & (alpha < 230)).sum()) <= 14


def test_every_region_is_refined_on_its_own() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (360, 640), dtype=np.uint8)
    frame = frame_of(luma)
    masks = [disc((128, 72), (40, 30), 20), disc((128, 72), (90, 50), 15)]
    together = refined(frame, *masks)
    for mask, fine in zip(masks, together, strict=True):
        np.testing.assert_array_equal(refined(frame, mask)[0], fine)


def test_the_given_masks_are_left_alone() -> None:
    mask = disc((128, 72), (40, 30), 20)
    before = mask.copy()
    refined(frame_of(np.full((360, 640), 90, np.uint8)), mask)
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (640, 4), (33, 47)])
def test_frames_and_masks_of_any_size(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    luma, mask = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in (size[::-1], (9, 16)))
    assert refined(frame_of(luma), mask).shape[1:] >= mask.shape


def test_other_results_pass_through() -> None:
    refine, frame = EdgeRefine(), frame_of(np.zeros((4, 4), np.uint8))
    nobody = Instances(
        np.zeros((0, 4, 4), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32),
        (), 0, frame.size,
    )  # fmt: skip
    assert isinstance(refine, Filter)
    assert refine(frame, nobody) is nobody
    refine.reset()


def test_people_in_photographs_get_better_edges(shared: Path) -> None:
    """Against labels, near the outline: less error than bilinear enlarging, and more overlap."""
    card = store.find_card("portrait")
    segmenter = RegionSegmenter(card, OrtEngine(store.weights(card)))
    folder = shared / "data/person/ccp"
    error: dict[str, list[float]] = {"bilinear": [], "refined": []}
    overlap: dict[str, list[float]] = {"bilinear": [], "refined": []}
    for path in sorted((folder / "images").iterdir())[::12]:
        picture = cv2.imread(str(path))
        label = cv2.imread(str(folder / "masks" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
        if picture is None or label is None:
            pytest.fail(f"{path} has no picture or no label")
        size = picture.shape[1] // 4 * 4, picture.shape[0] // 4 * 4
        truth = label[: size[1], : size[0]] > 127
        coarse = segmenter(Frame.from_bgr(as_u8(picture[: size[1], : size[0]])))
        mask = coarse.probabilities[0]
        # The photographs are small: enlarged, they stand to the mask as a 720p frame does.
        large = Frame.from_bgr(as_u8(cv2.resize(picture[: size[1], : size[0]], None, fx=3.0, fy=3.0)))
        alphas = {"bilinear": cv2.resize(mask, size), "refined": cv2.resize(refined(large, mask)[0], size)}
        if ((alphas["bilinear"] > 127) & truth).sum() < 0.85 * ((alphas["bilinear"] > 127) | truth).sum():
            continue  # another person was found too, or the network failed: edges say nothing there
        disc_ = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
        near = cv2.dilate(truth.astype(np.uint8), disc_) != cv2.erode(truth.astype(np.uint8), disc_)
        for name, alpha in alphas.items():
            error[name].append(float(np.abs(alpha / 255 - truth)[near].mean()))
            inside = alpha > 127
            overlap[name].append(float((inside & truth & near).sum() / ((inside | truth) & near).sum()))
    assert len(error["refined"]) >= 30
    assert np.mean(error["refined"]) < 0.85 * np.mean(error["bilinear"])
    assert np.mean(overlap["refined"]) > np.mean(overlap["bilinear"])
