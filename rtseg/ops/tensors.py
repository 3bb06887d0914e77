"""Pictures to network inputs, network outputs to masks: normalising, letterbox geometry, activations.

Tensors are float32, channels first, as ONNX graphs of vision models take them. Masks are uint8, 0..255.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import F32, U8, as_f32, as_u8

Activation: TypeAlias = Literal["none", "sigmoid", "softmax", "minmax"]
Anchor: TypeAlias = Literal["centre", "corner"]
Triple: TypeAlias = tuple[float, float, float]
FLAT = 1e-6
"""Levels of a channel that are nearer to each other are one level, which "minmax" does not stretch."""


class Window(NamedTuple):
    """The part of a network's input that the picture fills, in pixels of that input; the rest is padding."""

    x: int
    y: int
    width: int
    height: int


def letterbox(size: tuple[int, int], into: tuple[int, int], *, anchor: Anchor = "centre") -> Window:
    """Where a picture of `size` lies in an input of `into` (both width, height): aspect kept, centred or top left.

    The fitted side is rounded to the nearest pixel, at least one; an odd rest makes the last border the larger.
    """
    scale = min(into[0] / size[0], into[1] / size[1])
    width, height = (min(outer, max(1, round(inner * scale))) for inner, outer in zip(size, into, strict=True))
    if anchor == "corner":
        return Window(0, 0, width, height)
    return Window((into[0] - width) // 2, (into[1] - height) // 2, width, height)


@dataclass(frozen=True, slots=True)
class InputFormat:
    """How a picture becomes an input tensor: (pixel / scale - mean) / std per channel, stretched or letterboxed.

    size: width, height. colour: what the tensor's channels are, to which mean and std belong. pad: the grey,
    0..255, around a letterboxed picture. anchor: where that picture lies.
    """

    size: tuple[int, int]
    colour: Literal["rgb", "bgr", "yuv"] = "rgb"
    fit: Literal["stretch", "letterbox"] = "stretch"
    anchor: Anchor = "centre"
    pad: int = 114
    scale: float = 255.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    _gain_shift: tuple[tuple[np.float32, np.float32], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        folded = tuple(
            (np.float32(1.0 / (self.scale * s)), np.float32(-m / s)) for m, s in zip(self.mean, self.std, strict=True)
        )
        object.__setattr__(self, "_gain_shift", folded)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the tensor: 1x3xHxW."""
        return (1, 3, self.size[1], self.size[0])

    def window(self, size: tuple[int, int]) -> Window:
        """The part of the tensor that a picture of `size` (width, height) fills."""
        return letterbox(size, self.size, anchor=self.anchor) if self.fit == "letterbox" else Window(0, 0, *self.size)

    def write(self, picture: U8, window: Window, tensor: F32) -> None:
        """RGB (or YUV) uint8 hxwx3 of the window's size into `tensor`, float32 1x3xHxW, and the padding around it."""
        x, y, width, height = window
        channels = cv2.split(picture)
        for channel, target, (gain, shift) in zip(
            channels[::-1] if self.colour == "bgr" else channels, tensor[0], self._gain_shift, strict=True
        ):
            inside = target[y : y + height, x : x + width]
            np.multiply(channel, gain, out=inside)
            if shift:
                np.add(inside, shift, out=inside)
            if inside.shape != target.shape:
                _fill_around(target, window, self.pad * gain + shift)


def _fill_around(plane: F32, window: Window, value: np.float32) -> None:
    x, y, width, height = window
    plane[:y] = value
    plane[y + height :] = value
    plane[y : y + height, :x] = value
    plane[y : y + height, x + width :] = value


def is_sound(tensor: NDArray[Any], activation: Activation) -> bool:
    """Whether an output can be what it claims: finite throughout, and where it claims to be probabilities, 0..1.

    A tenth beyond is allowed, since the resampling inside a network may overshoot.
    """
    low, high = float(tensor.min()), float(tensor.max())  # a NaN anywhere makes both NaN
    if activation == "none":
        return low >= -0.1 and high <= 1.1
    return math.isfinite(low) and math.isfinite(high)


def probabilities(logits: F32, activation: Activation, channel: int) -> F32:
    """Channel `channel` of CxHxW as probabilities HxW; the array itself where nothing is to be done.

    sigmoid(x) is (1 + tanh(x / 2)) / 2, which cannot overflow; a softmax of two is the sigmoid of their difference.
    "minmax" is (x - least) / (greatest - least) over the channel, and 0 where it is flat.
    """
    match activation:
        case "none":
            return as_f32(logits[channel])
        case "sigmoid":
            return _sigmoid(logits[channel])
        case "softmax" if len(logits) == 2:
            return _sigmoid(logits[channel] - logits[1 - channel])
        case "softmax":
            shifted = np.exp(logits - logits.max(axis=0))
            return as_f32(shifted[channel] / shifted.sum(axis=0))
        case "minmax":
            low, high = float(logits[channel].min()), float(logits[channel].max())
            return as_f32((logits[channel] - np.float32(low)) / np.float32(max(high - low, FLAT)))


def _sigmoid(x: F32) -> F32:
    half: F32 = np.tanh(x * np.float32(0.5))
    half += np.float32(1.0)
    half *= np.float32(0.5)
    return half


def quantise(probability: F32, *, out: U8 | None = None) -> U8:
    """Probabilities HxW, clipped to 0..1, as uint8 0..255, rounded to the nearest."""
    # convertScaleAbs is the one SIMD path from float32 to uint8 in OpenCV's Python; it takes absolute values.
    return as_u8(cv2.convertScaleAbs(np.maximum(probability, np.float32(0.0)), dst=out, alpha=255.0))


def softmax(logits: F32) -> F32:
    """CxHxW scores as probabilities that sum to one over the classes; the same array, changed in place."""
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return logits


def best_class(
    scores: F32, *, size: tuple[int, int] | None = None
) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], F32]:
    """CxHxW to the index of the greatest score, the first of equals, uint8 (uint16 over 255 classes), and that score.

    size: (width, height) to which scores are brought first, bilinearly, one class after the other, so that no array has
    the classes of all pixels; None for their own. A NaN anywhere is NaN in the score returned. Ten times faster than
    np.argmax, which walks the class axis with a stride: here each class is one pass over contiguous memory.
    """

    def at_size(score: F32) -> F32:
        return score if size is None else as_f32(cv2.resize(score, size, interpolation=cv2.INTER_LINEAR))

    best: F32 = at_size(scores[0]).copy()
    labels: NDArray[np.uint8] | NDArray[np.uint16] = np.zeros(best.shape, np.uint8 if len(scores) <= 255 else np.uint16)
    greater, marked = np.empty(best.shape, np.bool_), np.empty_like(labels)
    for index, each in enumerate(scores[1:], start=1):
        score = at_size(each)
        np.greater(score, best, out=greater)
        np.multiply(greater, labels.dtype.type(index), out=marked)
        np.maximum(labels, marked, out=labels)  # indices rise, so the latest greater one stays
        np.maximum(best, score, out=best)
    return labels, best


def crop_window(mask: NDArray[Any], window: Window, size: tuple[int, int], *, nearest: bool = False) -> NDArray[Any]:
    """Undo a letterbox: the part of `mask` hxw that covers the `window` of an input of `size` (width, height).

    The mask may have any resolution. A window that ends between its pixels is resampled, bilinear or `nearest` (for
    class maps), so that the result covers the picture exactly.
    """
    height, width = mask.shape
    step_x, step_y = width / size[0], height / size[1]
    x, y = window.x * step_x, window.y * step_y
    inner_width, inner_height = window.width * step_x, window.height * step_y
    if all(edge.is_integer() for edge in (x, y, inner_width, inner_height)):
        left, top = int(x), int(y)
        return mask[top : top + int(inner_height), left : left + int(inner_width)]
    out_size = max(1, round(inner_width)), max(1, round(inner_height))
    ratio_x, ratio_y = inner_width / out_size[0], inner_height / out_size[1]
    # Pixel i of the result has its centre at x + (i + 0.5) * ratio of the mask, whose own centres are at + 0.5.
    place = np.array([[ratio_x, 0.0, x + ratio_x / 2 - 0.5], [0.0, ratio_y, y + ratio_y / 2 - 0.5]])
    flags = (cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mask, place, out_size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
