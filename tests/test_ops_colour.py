from __future__ import annotations

import numpy as np
import pytest

from rtseg.ops.colour import Colour, Matrix, merge_rgb, rgb_to_planes, rgb_to_yuv


@pytest.mark.parametrize(
    ("rgb", "colour", "yuv"),
    [  # the corner values that the recommendations' own tables give
        ((255, 255, 255), Colour("bt709"), (235, 128, 128)),
        ((0, 0, 0), Colour("bt709"), (16, 128, 128)),
        ((255, 0, 0), Colour("bt601"), (81, 90, 240)),
        ((0, 255, 0), Colour("bt601"), (145, 54, 34)),
        ((0, 0, 255), Colour("bt709"), (32, 240, 118)),
        ((255, 0, 0), Colour("bt601", full_range=True), (76, 85, 255)),
    ],
)
def test_known_colours(rgb: tuple[int, int, int], colour: Colour, yuv: tuple[int, int, int]) -> None:
    assert rgb_to_yuv(rgb, colour) == yuv


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [True, False])
def test_merge_rgb_equals_the_float64_formula_within_a_level(matrix: Matrix, full_range: bool) -> None:
    colour = Colour(matrix, full_range)
    y, u, v = np.random.default_rng(1).integers(0, 256, (3, 50, 70), dtype=np.uint8)
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}[matrix]
    luma = y.astype(float) if full_range else (y - 16.0) * 255 / 219
    scale = 1.0 if full_range else 255 / 224
    pb, pr = (u - 128.0) * scale, (v - 128.0) * scale
    red, blue = luma + 2 * (1 - kr) * pr, luma + 2 * (1 - kb) * pb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    expected = np.clip(np.stack([red, green, blue], axis=-1), 0, 255)
    assert np.abs(merge_rgb(y, u, v, colour) - expected).max() <= 1.0


def test_odd_sizes_average_the_edge_with_itself() -> None:
    rgb = np.zeros((3, 3, 3), np.uint8)
    rgb[2, 2] = (255, 0, 0)
    _, u, v = rgb_to_planes(rgb, Colour("bt601"))
    assert u.shape == v.shape == (2, 2)
    assert (u[1, 1], v[1, 1]) == rgb_to_yuv((255, 0, 0), Colour("bt601"))[1:]
    assert (u[0, 0], v[0, 0]) == (128, 128)


def test_unknown_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="bt601, bt709, bt2020"):
        Colour("bt470")  # type: ignore[arg-type]
