"""Picture arithmetic as ONNX operators: what `rtseg.ops` does with arrays, said in a graph.

Values are float32 of whole numbers 0..255, rounded wherever the array code rounds, so that both stay within a level of
each other. Only operators that GPU providers run themselves: no control flow, and every shape is known when the graph
is made. Sizes are (width, height).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rtseg.errors import ModelRejected
from rtseg.ops.arrays import F32, U8
from rtseg.ops.blur import reduction
from rtseg.ops.flow import TRUST
from rtseg.ops.matte import PRIOR, SLOPE, STEEP, UNSURE, WINDOW


class Value(NamedTuple):
    """A picture in the graph: its name, and its shape 1 x channels x height x width."""

    name: str
    channels: int
    size: tuple[int, int]


class GraphBuilder:
    """Collects nodes and constants, under names that cannot collide with those of a network put between them."""

    def __init__(self, prefix: str = "rtseg/") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._prefix = prefix
        self._known: dict[bytes, str] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One operator; the name of its output."""
        name = f"{self._prefix}{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """The name of a constant; equal ones are kept once."""
        key = f"{array.dtype.str}{array.shape}".encode() + array.tobytes()
        if key not in self._known:
            self._known[key] = f"{self._prefix}constant_{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def number(self, value: float) -> str:
        """A float32 constant."""
        return self.constant(np.array(value, np.float32))

    def shape(self, *numbers: int) -> str:
        """An int64 constant of one dimension."""
        return self.constant(np.array(numbers, np.int64))

    def like(self, x: Value, kind: str, *more: str, **attributes: Any) -> Value:
        """An operator on `x` and more that keeps its shape."""
        return x._replace(name=self.op(kind, x.name, *more, **attributes))

    def rename(self, value: str, name: str) -> None:
        """Give a value the name that an output must have."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))

    # Levels.

    def floats(self, x: Value) -> Value:
        """Any type as float32."""
        return self.like(x, "Cast", to=TensorProto.FLOAT)

    def bytes(self, x: Value) -> Value:
        """Whole numbers 0..255 as uint8."""
        return self.like(x, "Cast", to=TensorProto.UINT8)

    def levels(self, x: Value) -> Value:
        """Rounded to the nearest whole number, halves up, and kept in 0..255."""
        rounded = self.like(self.like(x, "Add", self.number(0.5)), "Floor")
        return self.like(rounded, "Clip", self.number(0), self.number(255))

    def look_up(self, x: Value, table: U8) -> Value:
        """Each level replaced by the entry of a table of 256."""
        index = self.op("Cast", x.name, to=TensorProto.INT32)
        return x._replace(name=self.op("Gather", self.constant(table.astype(np.float32)), index, axis=0))

    def blend(self, base: Value, paint: Value, alpha: Value) -> Value:
        """`rtseg.ops.blend`: base + (paint - base) * alpha / 255, each product rounded on its own."""
        inverse = self.op("Sub", self.number(255), alpha.name)
        parts = [
            self.op("Floor", self.op("Add", self.op("Mul", product, self.number(1 / 255)), self.number(0.5)))
            for product in (self.op("Mul", base.name, inverse), self.op("Mul", paint.name, alpha.name))
        ]
        return base._replace(name=self.op("Min", self.op("Add", *parts), self.number(255)))

    def transform(self, x: Value, matrix: F32) -> Value:
        """`cv2.transform` of 3 channels by 3x4 on uint8: coefficients in multiples of 1/1024, halves up.

        By single products and not by a convolution, which GPUs do with fewer digits.
        """
        weights = np.rint(matrix[:, :3] * np.float32(1024)).reshape(3, 3, 1, 1, 1) / np.float32(1024)
        offsets = np.rint((matrix[:, 3] + np.float32(0.5)) * np.float32(1024)) / np.float32(1024)
        channels = [self.channel(x, index).name for index in range(3)]
        made = []
        for row, offset in zip(weights, offsets, strict=True):
            terms = [self.op("Mul", c, self.constant(w)) for c, w in zip(channels, row, strict=True)]
            total = self.op("Add", self.op("Add", self.op("Add", terms[0], terms[1]), terms[2]), self.number(offset))
            made.append(Value(self.op("Floor", total), 1, x.size))
        return self.like(self.stack(made), "Clip", self.number(0), self.number(255))

    # Geometry.

    def bilinear(self, x: Value, size: tuple[int, int]) -> Value:
        """At another size, half-pixel centres, edges repeated: the numbers of `cv2.resize`, INTER_LINEAR, on uint8.

        OpenCV weighs by multiples of 1/2048 and cuts twice on the way. A network can turn one level of its input into
        fifty of its mask, so the same is done here.
        """
        if x.size == size:
            return x
        if (x.size[0], x.size[1]) == (2 * size[0], 2 * size[1]):  # which OpenCV averages
            return self.halve(x)
        sums = self._weighted(x.name, 3, x.size[0], size[0])
        cut = self.op("Floor", self.op("Mul", self.op("Add", *sums), self.number(1 / 16)))
        low, high = (
            self.op("Floor", self.op("Mul", part, self.number(1 / 65536)))
            for part in self._weighted(cut, 2, x.size[1], size[1])
        )
        rounded = self.op("Add", self.op("Add", low, high), self.number(2))
        return Value(self.op("Floor", self.op("Mul", rounded, self.number(1 / 4))), x.channels, size)

    def _weighted(self, x: str, axis: int, inside: int, outside: int) -> tuple[str, str]:
        """Along one axis, the two samples that each new one lies between, times their weights of 2048."""
        at = ((np.arange(outside) + 0.5) * (inside / outside) - 0.5).astype(np.float32)
        if axis == 3:  # beyond the first and last column OpenCV takes one sample, beyond rows the same one twice
            at = at.clip(0, inside - 1)
        first = np.floor(at)
        share = np.rint((at - first) * np.float32(2048)).astype(np.float32)
        places = [(first + step).clip(0, inside - 1).astype(np.int64) for step in (0, 1)]
        weights = (np.float32(2048) - share, share)
        wide = (-1, 1) if axis == 2 else (-1,)
        low, high = (
            self.op("Mul", self.op("Gather", x, self.constant(place), axis=axis), self.constant(weight.reshape(wide)))
            for place, weight in zip(places, weights, strict=True)
        )
        return low, high

    def halve(self, x: Value, *, rows: bool = True, columns: bool = True) -> Value:
        """`rtseg.ops.resize.halve`; of one way alone OpenCV rounds halves to even."""
        steps = [1 + rows, 1 + columns]
        halved = self.op("AveragePool", x.name, kernel_shape=steps, strides=steps)
        made = Value(halved, x.channels, (x.size[0] // steps[1], x.size[1] // steps[0]))
        return self.levels(made) if rows and columns else self.like(made, "Round")

    def resize(self, x: Value, size: tuple[int, int]) -> Value:
        """`rtseg.ops.resize.resize`: without aliasing, whichever way that is."""
        while True:
            columns, rows = (inside >= 2 * outside for inside, outside in zip(x.size, size, strict=True))
            if not (columns or rows):
                return self.bilinear(x, size)
            if (columns and x.size[0] % 2) or (rows and x.size[1] % 2):
                return self._area(x, size)
            x = self.halve(x, rows=rows, columns=columns)

    def _area(self, x: Value, size: tuple[int, int]) -> Value:
        """Averages over what each pixel covers, by a matrix for each axis."""
        columns, rows = (_area_weights(*sides) for sides in zip(x.size, size, strict=True))
        narrow = self.op("MatMul", x.name, self.constant(np.ascontiguousarray(columns.T)))
        return self.levels(Value(self.op("MatMul", self.constant(rows), narrow), x.channels, size))

    def crop(self, x: Value, box: tuple[int, int, int, int]) -> Value:
        """The part x0, y0, x1, y1."""
        x0, y0, x1, y1 = box
        if (x0, y0, x1, y1) == (0, 0, *x.size):
            return x
        part = self.op("Slice", x.name, self.shape(y0, x0), self.shape(y1, x1), self.shape(2, 3))
        return Value(part, x.channels, (x1 - x0, y1 - y0))

    def stack(self, values: Sequence[Value]) -> Value:
        """Pictures of one size as the channels of one."""
        joined = self.op("Concat", *(value.name for value in values), axis=1)
        return Value(joined, sum(value.channels for value in values), values[0].size)

    def channel(self, x: Value, index: int) -> Value:
        """One channel of several."""
        if x.channels == 1:
            return x
        one = self.op("Slice", x.name, self.shape(index), self.shape(index + 1), self.shape(1))
        return Value(one, 1, x.size)

    # Masks over time, and their edges.

    def steady(self, mask: Value, past: Value, luma: Value, before: Value, known: str) -> Value:
        """`rtseg.filters.smooth` without flow: 1-channel masks, luma of `FLOW_SIZE`; known: 1, or 0 for no past."""
        change = self.like(self.like(luma, "Sub", before.name), "Abs")
        trust = self.look_up(self.levels(self._box(change, (3, 3))), TRUST)
        for axis, few, many in ((2, trust.size[1], mask.size[1]), (3, trust.size[0], mask.size[0])):
            nearest = ((np.arange(many) + 0.5) * few / many).astype(np.int64)
            trust = trust._replace(name=self.op("Gather", trust.name, self.constant(nearest), axis=axis))
        trust = Value(self.op("Mul", trust.name, known), 1, mask.size)
        ring = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        high = self.like(mask, "MaxPool", **ring)
        low = self.like(self.like(self.like(mask, "Neg"), "MaxPool", **ring), "Neg")
        history = self.like(self.like(past, "Max", low.name), "Min", high.name)
        mixed = self.blend(mask, history, trust)
        return mask._replace(name=self.op("Where", self.op("Less", low.name, high.name), mixed.name, mask.name))

    def redraw_edges(self, mask: Value, coarse: Value, fine: Value) -> Value:
        """`rtseg.ops.matte.EdgeModel`: a mask and luma of its size, and a larger luma, to alpha of that."""
        low, high = UNSURE
        edge = self._between(mask, low, high)
        unit = self.number(1 / 255)
        own = self.like(self.like(mask, "Mul", coarse.name), "Mul", unit)
        weight = self.like(self._box(mask), "Mul", unit)
        subject, everything = self._box(own), self._box(coarse)
        around = self.like(
            self.like(everything, "Sub", subject.name), "Div", self.op("Sub", self.number(1.001), weight.name)
        )
        within = self.like(subject, "Div", self.op("Add", weight.name, self.number(0.001)))
        contrast = self.like(within, "Sub", around.name)
        spread = self.op("Add", self.op("Mul", contrast.name, contrast.name), self.number(PRIOR))
        scale = self.op("Div", self.number(255 * SLOPE), spread)
        gain = self.op("Mul", contrast.name, scale)
        prior = self.op("Mul", mask.name, self.number(PRIOR / 255))
        fitted = self.op("Mul", self.op("Sub", prior, self.op("Mul", contrast.name, around.name)), scale)
        fitted = self.op("Add", fitted, self.number(127.5 * (1 - SLOPE)))
        gain = self.op("Where", edge, gain, self.number(0))
        offset = self.op("Where", edge, fitted, self.look_up(mask, STEEP).name)
        slope, level = (self._interpolated(Value(name, 1, mask.size), fine.size) for name in (gain, offset))
        return self.levels(self.like(self.like(slope, "Mul", fine.name), "Add", level.name))

    def _between(self, x: Value, low: int, high: int) -> str:
        """Whether low <= x <= high."""
        return self.op(
            "And",
            self.op("GreaterOrEqual", x.name, self.number(low)),
            self.op("LessOrEqual", x.name, self.number(high)),
        )

    def _box(self, x: Value, window: tuple[int, int] = WINDOW) -> Value:
        """Means in the window around each pixel, mirrored about the pixels at the edge."""
        (width, height), (right, below) = window, (window[0] // 2, window[1] // 2)
        padded = self.op("Pad", x.name, self.shape(0, 0, below, right, 0, 0, below, right), mode="reflect")
        return x._replace(name=self.op("AveragePool", padded, kernel_shape=[height, width]))

    def _interpolated(self, x: Value, size: tuple[int, int]) -> Value:
        """At another size, bilinear with half-pixel centres, not rounded."""
        if x.size == size:
            return x
        sizes = self.shape(1, x.channels, size[1], size[0])
        options = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return Value(self.op("Resize", x.name, "", "", sizes, **options), x.channels, size)

    # Blurring.

    def blur_covered(self, planes: Sequence[Value], weight: Value, sigma: float) -> list[Value]:
        """`rtseg.ops.blur.blur_covered`: planes of one reduced size."""
        width, height = planes[0].size
        scale, small_sigma, taps = reduction(sigma)
        size = (-(-width // scale), -(-height // scale))
        if taps // 2 >= min(size):
            raise ModelRejected(f"a blur of sigma {sigma:.0f} is too strong for a picture of {width}x{height}")
        without = self.like(weight, "Neg")
        sides = self.like(without, "MaxPool", kernel_shape=[1, 3], pads=[0, 1, 0, 1])
        ends = self.like(without, "MaxPool", kernel_shape=[3, 1], pads=[1, 0, 1, 0])
        tight = self.like(self.like(sides, "Max", ends.name), "Neg")  # as `_MARGIN` of `rtseg.ops.blur`
        inner = self.like(self.resize(tight, size), "Sub", self.number(239))
        w = self.like(self.like(inner, "Max", self.number(0)), "Add", self.number(1e-6))
        total = self._gaussian(w, small_sigma, taps)
        found = []
        for plane in planes:
            weighted = self.like(self._reduced(plane, size), "Mul", w.name)
            found.append(self.levels(self.like(self._gaussian(weighted, small_sigma, taps), "Div", total.name)))
        return found

    def _gaussian(self, x: Value, sigma: float, taps: int) -> Value:
        """Blurred, mirrored about the pixels at the edge."""
        kernel = cv2.getGaussianKernel(taps, sigma, cv2.CV_32F).astype(np.float32)
        reach = taps // 2
        padded = self.op("Pad", x.name, self.shape(0, 0, reach, reach, 0, 0, reach, reach), mode="reflect")
        across = self.op("Conv", padded, self.constant(kernel.reshape(1, 1, 1, taps)))
        return x._replace(name=self.op("Conv", across, self.constant(kernel.reshape(1, 1, taps, 1))))

    def _reduced(self, x: Value, size: tuple[int, int]) -> Value:
        while x.size[0] > size[0] or x.size[1] > size[1]:
            x = self.bilinear(x, (max(size[0], (x.size[0] + 1) // 2), max(size[1], (x.size[1] + 1) // 2)))
        return self.bilinear(x, size)


def _area_weights(inside: int, outside: int) -> F32:
    """OutsidexInside: how much of each sample lies in each of fewer ones; rows add up to 1."""
    edges = np.arange(outside + 1) * (inside / outside)
    at = np.arange(inside)
    cover = np.minimum(edges[1:, None], at + 1) - np.maximum(edges[:-1, None], at)
    weights: F32 = (np.clip(cover, 0, None) / (inside / outside)).astype(np.float32)
    return weights
