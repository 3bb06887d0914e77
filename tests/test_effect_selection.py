"""Masks by name: the same whether a class is compared at once or looked for first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtseg.effects.selection import select
from rtseg.types import Semantic, Size

NAMES = tuple(f"c{index}" for index in range(300))


@pytest.mark.parametrize("wanted", [NAMES[7:8], NAMES[5:9], NAMES[:150]])
@pytest.mark.parametrize(("dtype", "classes"), [(np.uint8, 150), (np.uint8, 300), (np.uint16, 300)])
def test_of_a_class_map_the_wanted_classes_that_are_there_come_in_the_wanted_order(
    wanted: tuple[str, ...], dtype: Any, classes: int
) -> None:
    labels = np.random.default_rng(3).choice([5, 7, 8, 149, np.iinfo(dtype).max], (9, 16)).astype(dtype)
    wanted = wanted[::-1]
    found = select(Semantic(labels, NAMES[:classes], 0, Size(64, 36)), wanted)
    there = [name for name in wanted if NAMES.index(name) in (5, 7, 8, 149)]
    assert list(found) == there
    for name, mask in found.items():
        np.testing.assert_array_equal(mask, np.where(labels == NAMES.index(name), 255, 0))
        assert mask.dtype == np.uint8


def test_a_part_of_a_larger_class_map_is_read_where_it_lies() -> None:
    whole = np.zeros((8, 16), np.uint8)
    whole[:, 8:], whole[2:4, 2:4] = 9, 4
    part = whole[1:6, 1:7]  # a letterbox that was undone: rows are apart
    found = select(Semantic(part, NAMES[:10], 0, Size(64, 36)), NAMES[:10])
    assert list(found) == ["c0", "c4"]
    assert int((found["c4"] == 255).sum()) == 4
