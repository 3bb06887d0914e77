"""The errors of mattes, against the published definitions written out pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rtseg.ops.arrays import U8
from rtseg.ops.matte_errors import (
    change_error,
    connectivity_error,
    gradient_error,
    mean_absolute_error,
    mean_squared_error,
)

SIZE = (14, 17)
ALL = np.ones(SIZE, bool)


def mattes(seed: int) -> tuple[U8, U8]:
    """Two soft blobs with loose bits, of which the second is a worse copy of the first."""
    generator = np.random.default_rng(seed)
    y, x = np.indices(SIZE)
    truth = np.clip(255 * (1.4 - np.hypot(y - 6, x - 8) / 5), 0, 255)
    noisy = truth + generator.normal(0, 50, SIZE) + 200 * (generator.random(SIZE) < 0.1)
    return truth.astype(np.uint8), np.clip(noisy, 0, 255).astype(np.uint8)


def slow_gradient(matte: U8) -> np.ndarray:
    sigma, half = 1.4, 4

    def gauss(v: float) -> float:
        return math.exp(-v * v / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))

    kernel = np.array(
        [[gauss(i) * -j * gauss(j) / sigma**2 for j in range(-half, half + 1)] for i in range(-half, half + 1)]
    )
    kernel /= math.sqrt((kernel**2).sum())
    padded = np.pad(matte / 255.0, half, mode="edge")
    size = np.zeros(matte.shape)
    for r in range(matte.shape[0]):
        for c in range(matte.shape[1]):
            window = padded[r : r + 2 * half + 1, c : c + 2 * half + 1]
            size[r, c] = math.hypot((window * kernel).sum(), (window * kernel.T).sum())
    return size


def largest_part(mask: np.ndarray) -> set[tuple[int, int]]:
    left = {(int(r), int(c)) for r, c in np.argwhere(mask)}
    best: set[tuple[int, int]] = set()
    for start in sorted(left):
        if start not in left:
            continue
        part, stack = set(), [start]
        while stack:
            r, c = stack.pop()
            if (r, c) in left:
                left.remove((r, c))
                part.add((r, c))
                stack += [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
        if len(part) > len(best):
            best = part
    return best


def slow_connectivity(truth: U8, predicted: U8) -> np.ndarray:
    level = np.full(truth.shape, -1)
    for step in range(1, 11):
        part = largest_part((truth.astype(int) * 10 >= 255 * step) & (predicted.astype(int) * 10 >= 255 * step))
        for r in range(truth.shape[0]):
            for c in range(truth.shape[1]):
                if level[r, c] == -1 and (r, c) not in part:
                    level[r, c] = step - 1
    level[level == -1] = 10
    phi = []
    for matte in (truth, predicted):
        d = matte / 255.0 - level / 10.0
        phi.append(1 - d * (d >= 0.15 - 1e-12))
    return np.abs(phi[0] - phi[1])


@pytest.mark.parametrize("seed", range(4))
def test_the_errors_are_the_published_ones(seed: int) -> None:
    truth, predicted = mattes(seed)
    known = np.random.default_rng(9).random(SIZE) < 0.8
    difference = np.square(slow_gradient(predicted) - slow_gradient(truth))
    assert gradient_error(truth, predicted, ALL) == pytest.approx(difference.sum(), rel=1e-6)
    assert gradient_error(truth, predicted, known) == pytest.approx(difference[known].sum(), rel=1e-6)
    apart = slow_connectivity(truth, predicted)
    assert apart.sum() > 1
    assert connectivity_error(truth, predicted, ALL) == pytest.approx(apart.sum(), rel=1e-9)
    assert connectivity_error(truth, predicted, known) == pytest.approx(apart[known].sum(), rel=1e-9)
    assert mean_absolute_error(truth, predicted, known) == pytest.approx(
        np.abs(truth / 255.0 - predicted / 255.0)[known].mean()
    )
    assert mean_squared_error(truth, predicted, known) == pytest.approx(
        np.square(truth / 255.0 - predicted / 255.0)[known].mean()
    )


def test_a_loose_bit_is_as_far_apart_as_it_is_opaque() -> None:
    truth, predicted = np.zeros((2, 5, 9), np.uint8)
    truth[:, :4] = predicted[:, :4] = 255
    predicted[2, 7] = 204  # 0.8, in one pixel that hangs on nothing
    assert connectivity_error(truth, predicted, np.ones((5, 9), bool)) == pytest.approx(0.8)
    predicted[2, 7] = 25  # under 0.15 it is no matter
    assert connectivity_error(truth, predicted, np.ones((5, 9), bool)) == 0.0


def test_equal_mattes_have_no_error_and_unknown_pixels_count_nowhere() -> None:
    truth, predicted = mattes(0)
    for error in (mean_absolute_error, mean_squared_error, gradient_error, connectivity_error):
        assert error(truth, truth, ALL) == 0.0
        assert error(truth, predicted, ~ALL) == 0.0
        assert error(truth, predicted, ALL) > 0.0
    assert change_error((truth, truth), (truth, predicted), ~ALL) == 0.0


def test_known_pixels_alone_count_in_a_change() -> None:
    before, after = np.zeros((1, 4), np.uint8), np.array([[255, 0, 255, 0]], np.uint8)
    known = np.array([[True, True, False, False]])
    assert change_error((before, before), (before, after), known) == pytest.approx(100 * math.sqrt(1 / 2))
