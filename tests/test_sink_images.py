"""Folders of pictures and of masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from written import moving_frame, output_of

from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.sinks.images import ImageFolder
from rtseg.sinks.masks import MaskFolder, mask_images
from rtseg.types import Frame, Instances, Output, Panoptic, Regions, SegmentInfo, Semantic, Size


def picture(size: tuple[int, int] = (40, 30), *, alpha: bool = False) -> Frame:
    """A smooth RGB picture, so that chroma at half size loses little of it."""
    width, height = size
    x, y = np.meshgrid(np.linspace(30, 220, width), np.linspace(30, 220, height))
    channels = [x, y, 255 - x] + ([(x + y) / 2] if alpha else [])
    return Frame.from_rgb(np.dstack(channels).round().astype(np.uint8))


def read(path: Path) -> U8:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image  # type: ignore[return-value]


def test_png_holds_the_pictures_exact_pixels_and_alpha(tmp_path: Path) -> None:
    for alpha in (False, True):
        frame = picture(alpha=alpha)
        with ImageFolder(tmp_path) as sink:
            sink.write(output_of(frame))
        image = read(tmp_path / "000000.png")
        np.testing.assert_array_equal(image[..., 2::-1], frame.rgb)
        if frame.alpha is not None:
            np.testing.assert_array_equal(image[..., 3], frame.alpha)
        assert image.shape[2] == 3 + alpha


def test_the_picture_is_written_and_not_the_frame(tmp_path: Path) -> None:
    frame = moving_frame(0)
    painted = frame.with_planes((np.full((48, 64), 16, np.uint8), *frame.planes[1:]))
    ImageFolder(tmp_path).write(replace(output_of(frame), picture=painted))
    assert read(tmp_path / "000000.png").max() == 0


@pytest.mark.parametrize(("ending", "error"), [("jpg", 4), ("jpeg", 4), ("webp", 6)])
def test_lossy_formats_are_close(tmp_path: Path, ending: str, error: int) -> None:
    frame = picture()
    ImageFolder(tmp_path, format=ending).write(output_of(frame))
    image = read(tmp_path / f"000000.{ending}")
    assert np.abs(image[..., ::-1].astype(int) - frame.rgb).mean() < error


def test_alpha_in_webp_is_equal_to_the_byte(tmp_path: Path) -> None:
    frame = picture(alpha=True)
    ImageFolder(tmp_path, format="webp").write(output_of(frame))
    np.testing.assert_array_equal(read(tmp_path / "000000.webp")[..., 3], frame.alpha)


def test_jpeg_refuses_to_show_what_was_to_be_transparent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="JPEG has no transparency: use the format png or webp"):
        ImageFolder(tmp_path, format="jpg").write(output_of(picture(alpha=True)))
    assert list(tmp_path.iterdir()) == []


def test_files_are_named_after_the_frames_index(tmp_path: Path) -> None:
    with ImageFolder(tmp_path / "new" / "folder", names=["b", "a.b"]) as images:
        for index in (1, 0, 12):
            images.write(output_of(moving_frame(index)))
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == ["000012.png", "a.b.png", "b.png"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/x", "../x", "a\\b", "a\0b"])
def test_names_that_would_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="stem without slashes"):
        ImageFolder(tmp_path, names=["good", name])


def test_names_that_are_given_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'a'"):
        MaskFolder(tmp_path, names=["a", "b", "a"])


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown image format 'gif': use one of png, jpg, jpeg, webp"):
        ImageFolder(tmp_path, format="gif")


def test_one_region_is_a_probability_at_the_frames_size() -> None:
    mask = np.array([[0, 255], [0, 255]], np.uint8)
    images = mask_images(Regions(mask[None], ("person",), 0, Size(8, 4)), (8, 4))
    assert list(images) == [""]
    # Bilinear, half-pixel centres: (i + 0.5) / 4 - 0.5, held at the edges.
    expected = [0, 0, 32, 96, 159, 223, 255, 255]
    assert images[""].dtype == np.uint8
    assert images[""].shape == (4, 8)
    assert np.abs(images[""].astype(int) - expected).max() <= 1


def test_several_regions_have_a_file_each(tmp_path: Path) -> None:
    names = ("road", "lane line", "../x", "lane-line", "日本")
    masks = np.stack([np.full((3, 4), level, np.uint8) for level in (10, 20, 30, 40, 50)])
    frame = moving_frame(0)
    output = Output(frame, Regions(masks, names, 0, frame.size), [], frame)
    with MaskFolder(tmp_path, names=["pic"]) as sink:
        sink.write(output)
    found = {path.name: int(read(path).max()) for path in tmp_path.iterdir()}
    assert found == {
        "pic.road.png": 10,
        "pic.lane-line.png": 20,
        "pic.x.png": 30,
        "pic.lane-line-3.png": 40,
        "pic.日本.png": 50,
    }
    assert read(tmp_path / "pic.road.png").shape == (48, 64)


@pytest.mark.parametrize(
    "labels", [np.array([[0, 1, 7], [3, 255, 2]], np.uint8), np.array([[0, 1, 7], [3, 65535, 2]], np.uint16)]
)
def test_a_class_map_keeps_its_indices(tmp_path: Path, labels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    frame = moving_frame(0, size=(9, 6))
    names = tuple(f"c{i}" for i in range(8))
    with MaskFolder(tmp_path) as sink:
        sink.write(Output(frame, Semantic(labels, names, 0, frame.size), [], frame))
    image = read(tmp_path / "000000.png")
    assert image.dtype == labels.dtype
    np.testing.assert_array_equal(image, labels.repeat(3, axis=0).repeat(3, axis=1))


def test_instances_are_numbered_and_the_likelier_one_is_seen() -> None:
    masks = np.zeros((2, 4, 4), np.uint8)
    masks[0, :, :3], masks[1, :, 1:] = 255, 255
    found = Instances(
        masks, np.zeros((2, 4), np.float32), np.array([0, 0]), np.array([0.9, 0.5], np.float32), ("car",), 0, Size(4, 4)
    )
    image = mask_images(found, (4, 4))[""]
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, [[1, 1, 1, 2]] * 4)


def test_panoptic_segments_are_numbered_in_their_order() -> None:
    ids = np.array([[-1, 40], [7, 40]], np.int32)
    found = Panoptic(ids, (SegmentInfo(7, 0), SegmentInfo(40, 0)), ("thing",), 0, Size(4, 4))
    image = mask_images(found, (4, 4))[""]
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, np.array([[0, 2], [1, 2]]).repeat(2, axis=0).repeat(2, axis=1))
