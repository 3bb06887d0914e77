"""What effects look like, as pictures that somebody has looked at; `regenerate_goldens.py` makes them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from regenerate_goldens import GOLDENS, SCENES, rendered, stored

pytestmark = pytest.mark.usefixtures("either_loops")

WITH_TEXT = {"road", "classes", "drive", "night"}


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_looks_as_it_did(name: str) -> None:
    if name in WITH_TEXT and not cv2.__version__.startswith("5."):
        pytest.skip(f"the golden's text is in OpenCV 5's font, this is {cv2.__version__}")
    golden, got = stored(name), rendered(name)
    assert golden is not None, f"no tests/goldens/{name}.png: make it with regenerate_goldens.py and look at it"
    assert got.shape == golden.shape
    difference = np.abs(got.astype(int) - golden)
    # A level in each plane is up to 3 in RGB, and compiled loops and OpenCV's versions round differently; a shift of a
    # tenth of a pixel, a wrong matrix or a lost layer is ten times as much.
    assert difference.max() <= 6, f"tests/goldens/{name}.png: {int((difference > 6).any(axis=-1).sum())} pixels changed"
    assert difference.mean() <= 0.2


def test_every_golden_has_a_scene_and_is_small() -> None:
    files = sorted(GOLDENS.iterdir())
    assert [file.stem for file in files] == sorted(SCENES)
    assert all(file.stat().st_size < 40_000 for file in files)
