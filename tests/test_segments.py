from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from rtseg.errors import ConfigError, FrameError
from rtseg.ops.runs import mask_of_runs, runs_of, text_of_runs
from rtseg.segments import ImageSegment, Segments, as_coco, as_label_map

Masks = arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


def segment(label: str, rows: list[list[int]], score: float | None = None) -> ImageSegment:
    return {"label": label, "score": score, "mask": Image.fromarray(np.array(rows, np.uint8))}


def test_a_label_map_has_the_place_of_each_label_the_later_of_two_and_255_where_nothing_is() -> None:
    found = Segments(
        [segment("car", [[255, 255, 127, 0]]), segment("road", [[0, 128, 0, 0]])], names=("sky", "road", "car")
    )
    np.testing.assert_array_equal(as_label_map(found), [[2, 1, 255, 255]])
    np.testing.assert_array_equal(as_label_map(list(found)), [[0, 1, 255, 255]])
    np.testing.assert_array_equal(as_label_map(found, names=("road", "car")), [[1, 0, 255, 255]])
    assert as_label_map(found).dtype == np.uint8


def test_more_names_than_a_byte_holds() -> None:
    names = tuple(f"c{i}" for i in range(300))
    found = as_label_map([segment("c299", [[255, 0]])], names=names)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, [[299, 65535]])


def test_labels_that_are_unknown_and_maps_without_a_size_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'car' is not among names \['road'\]"):
        as_label_map([segment("car", [[255]])], names=("road",))
    with pytest.raises(FrameError, match="no segment"):
        as_label_map([])


@given(mask=Masks)
def test_runs_come_back(mask: Any) -> None:
    np.testing.assert_array_equal(mask_of_runs(runs_of(mask), mask.shape[::-1]), mask)


@given(mask=Masks)
def test_the_text_of_runs_is_pycocotools_own(mask: Any) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="rtseg[labels] is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        wanted = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert text_of_runs(runs_of(mask)) == wanted


def test_coco_values_of_a_mask_by_hand() -> None:
    found = as_coco([segment("car", [[0, 255, 255], [0, 0, 200]], 0.5)], compressed=False)
    assert found == [
        {
            "label": "car",
            "score": 0.5,
            "area": 3,
            "bbox": [1, 0, 2, 2],
            "segmentation": {"size": [2, 3], "counts": [2, 1, 1, 2]},
        }
    ]
    (text,) = as_coco([segment("car", [[0, 255, 255], [0, 0, 200]])])
    assert text["segmentation"]["counts"] == text_of_runs([2, 1, 1, 2]) == "2111"[:3] + chr(48 + 1)
    (none,) = as_coco([segment("car", [[0, 0]])], compressed=False)
    assert (none["area"], none["bbox"], none["segmentation"]["counts"]) == (0, [0, 0, 0, 0], [2])
