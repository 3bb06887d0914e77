from __future__ import annotations

import numpy as np
import pytest

from rtseg.ops.tensors import (
    InputFormat,
    Window,
    best_class,
    crop_window,
    is_sound,
    letterbox,
    probabilities,
    quantise,
)


@pytest.mark.parametrize(
    ("size", "into", "window"),
    [
        ((1280, 720), (640, 384), Window(0, 12, 640, 360)),
        ((720, 1280), (640, 384), Window(212, 0, 216, 384)),
        ((640, 384), (640, 384), Window(0, 0, 640, 384)),
        ((10000, 1), (64, 64), Window(0, 31, 64, 1)),
        ((3, 3), (64, 33), Window(15, 0, 33, 33)),
    ],
)
def test_letterbox_keeps_the_aspect_and_centres(size: tuple[int, int], into: tuple[int, int], window: Window) -> None:
    assert letterbox(size, into) == window


def test_write_pads_again_what_a_larger_picture_left() -> None:
    layout = InputFormat((8, 8), fit="letterbox", pad=51)
    tensor = np.zeros(layout.shape, np.float32)
    for size in [(8, 8), (8, 4), (4, 8)]:
        window = layout.window(size)
        layout.write(np.full((window.height, window.width, 3), 255, np.uint8), window, tensor)
        assert int((tensor == 1.0).sum()) == 3 * window.width * window.height
        padding = tensor[tensor != 1.0]
        np.testing.assert_allclose(padding, 0.2, rtol=1e-6)


def test_activations_do_not_overflow() -> None:
    logits = np.array([-1e4, -1.0, 0.0, 1.0, 1e4], np.float32).reshape(1, 1, 5)
    expected = [0.0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1.0]
    np.testing.assert_allclose(probabilities(logits, "sigmoid", 0)[0], expected, atol=1e-6)
    pair = np.concatenate([np.zeros_like(logits), logits])
    np.testing.assert_allclose(probabilities(pair, "softmax", 1)[0], expected, atol=1e-6)
    three = np.concatenate([pair, np.full_like(logits, -1e5)])
    np.testing.assert_allclose(probabilities(three, "softmax", 1)[0], expected, atol=1e-6)


def test_minmax_stretches_a_channel_of_its_own() -> None:
    maps = np.array([[[-3.0, 1.0, 5.0]], [[100.0, 100.0, 100.0]]], np.float32)
    np.testing.assert_array_equal(probabilities(maps, "minmax", 0), [[0.0, 0.5, 1.0]])
    np.testing.assert_array_equal(probabilities(maps, "minmax", 1), [[0.0, 0.0, 0.0]])
    assert is_sound(maps, "minmax")
    assert not is_sound(np.full_like(maps, np.inf), "minmax")


def test_quantise_rounds_and_clips() -> None:
    given = np.array([[-0.05, 0.0, 0.5 / 255 + 1e-4, 0.5, 1.0, 1.05]], np.float32)
    np.testing.assert_array_equal(quantise(given), [[0, 0, 1, 128, 255, 255]])


def test_best_class_shows_a_nan_of_any_class() -> None:
    scores = np.zeros((3, 1, 3), np.float32)
    scores[:, 0, :] = np.diag([np.nan, np.nan, np.nan])
    labels, best = best_class(scores)
    assert np.isnan(best).all()
    assert not is_sound(best, "softmax")
    assert labels.max() <= 2


@pytest.mark.parametrize(("value", "sound"), [(1.05, True), (1.2, False), (-0.2, False), (np.nan, False)])
def test_probabilities_may_overshoot_by_a_tenth(value: float, sound: bool) -> None:
    assert is_sound(np.array([0.5, value], np.float32), "none") is sound


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("shape", [(48, 64), (24, 32), (37, 51)])
def test_crop_window_keeps_places_at_any_resolution(shape: tuple[int, int], nearest: bool) -> None:
    rows, columns = shape
    ramp = np.tile(((np.arange(columns) + 0.5) * 255 / columns).astype(np.float32), (rows, 1))
    window = Window(5, 3, 50, 41)
    cropped = crop_window(ramp, window, (64, 48), nearest=nearest)
    assert cropped.shape == (round(41 * rows / 48), round(50 * columns / 64))
    centres = (5 + (np.arange(cropped.shape[1]) + 0.5) * 50 / cropped.shape[1]) * 255 / 64
    # Bilinear places are rounded to 1/32 pixel by OpenCV; the nearest pixel is at most half a pixel away.
    step = 255 / columns
    np.testing.assert_allclose(cropped[cropped.shape[0] // 2], centres, atol=step * (0.51 if nearest else 0.04))


def test_crop_window_of_whole_pixels_is_a_view() -> None:
    mask = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    cropped = crop_window(mask, Window(0, 6, 64, 36), (64, 48))
    assert np.shares_memory(cropped, mask)
    np.testing.assert_array_equal(cropped, mask[6:42])
