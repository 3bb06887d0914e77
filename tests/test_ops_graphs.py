"""Graph arithmetic against the array code that it repeats: the same numbers, or one level where said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from rtseg.errors import ModelRejected
from rtseg.ops.arrays import U8, as_f32
from rtseg.ops.blend import Blender
from rtseg.ops.blur import blur_covered
from rtseg.ops.colour import Colour, Matrix, yuv_to_rgb_matrix
from rtseg.ops.graphs import GraphBuilder, Value
from rtseg.ops.matte import EdgeModel
from rtseg.ops.resize import resize

RNG = np.random.default_rng(5)


def noise(width: int, height: int) -> U8:
    return RNG.integers(0, 256, (height, width), dtype=np.uint8)


def smooth(width: int, height: int) -> U8:
    return cv2.resize(noise(9, 7), (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def run(make: Callable[..., Value | list[Value]], *planes: U8) -> list[np.ndarray[Any, Any]]:
    """The graph that `make` builds on planes HxW or CxHxW, run on the CPU: arrays CxHxW."""
    graph = GraphBuilder()
    stacks = [plane.reshape(1, -1, *plane.shape[-2:]) for plane in planes]
    values = [Value(f"in{i}", s.shape[1], (s.shape[3], s.shape[2])) for i, s in enumerate(stacks)]
    made = make(graph, *values)
    made = made if isinstance(made, list) else [made]
    for index, value in enumerate(made):
        graph.rename(value.name, f"out{index}")
    inputs = [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, s.shape) for v, s in zip(values, stacks)]  # noqa: B905
    outputs = [
        helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, (1, v.channels, v.size[1], v.size[0]))
        for i, v in enumerate(made)
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "test", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {v.name: s.astype(np.float32) for v, s in zip(values, stacks, strict=True)})
    return [array[0] for array in found]


SIZES = [
    ((1280, 720), (256, 144)), ((1920, 1080), (256, 144)), ((640, 480), (256, 256)), ((640, 360), (320, 192)),
    ((1080, 1920), (256, 144)), ((400, 600), (256, 144)),
    ((256, 144), (1280, 720)), ((256, 144), (640, 360)), ((64, 36), (64, 36)), ((7, 5), (31, 3)), ((1, 1), (5, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("size", "to"), SIZES)
def test_resizing_gives_the_levels_that_opencv_gives(size: tuple[int, int], to: tuple[int, int]) -> None:
    plane = noise(*size)
    (found,) = run(lambda graph, x: graph.resize(x, to), plane)
    difference = np.abs(found[0] - resize(plane, to))
    # OpenCV multiplies integers of 26 bits; float32 has 24, which shows in one pixel of a hundred thousand.
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= 5e-5 * difference.size


@pytest.mark.parametrize(("size", "to"), [((102, 90), (20, 18)), ((333, 217), (64, 48))])
def test_odd_sides_are_averaged_by_area_within_a_level(size: tuple[int, int], to: tuple[int, int]) -> None:
    plane = noise(*size)
    (found,) = run(lambda graph, x: graph.resize(x, to), plane)
    np.testing.assert_allclose(found[0], resize(plane, to), atol=1)


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_are_the_very_levels_that_opencv_gives(matrix: Matrix, full_range: bool) -> None:
    weights = yuv_to_rgb_matrix(Colour(matrix, full_range))
    planes = RNG.integers(0, 256, (3, 40, 60), dtype=np.uint8)
    (found,) = run(lambda graph, x: graph.transform(x, weights), planes)
    expected = cv2.transform(np.ascontiguousarray(planes.transpose(1, 2, 0)), weights)
    np.testing.assert_array_equal(found.transpose(1, 2, 0), expected)


def test_blending_is_the_kernels_within_a_level_and_exact_at_the_ends() -> None:
    base, paint, alpha = noise(200, 100), noise(200, 100), noise(200, 100)
    alpha[:30], alpha[30:60] = 0, 255
    (found,) = run(lambda graph, *values: graph.blend(*values), base, paint, alpha)
    expected = base.copy()
    Blender().onto([expected], [paint], alpha)
    np.testing.assert_allclose(found[0], expected, atol=1)
    np.testing.assert_array_equal(found[0, :60], expected[:60])


def test_a_table_replaces_levels() -> None:
    table = RNG.permutation(256).astype(np.uint8)
    plane = noise(30, 20)
    (found,) = run(lambda graph, x: graph.look_up(x, table), plane)
    np.testing.assert_array_equal(found[0], table[plane])


@pytest.mark.parametrize("sigma", [1.0, 6.0, 18.0])
@pytest.mark.parametrize("size", [(320, 180), (318, 178)])
def test_a_blur_leaves_out_what_it_does_not_cover_within_a_level(size: tuple[int, int], sigma: float) -> None:
    half = (size[0] // 2, size[1] // 2)
    planes = (smooth(*size), smooth(*half), noise(*half))
    weight = np.zeros((36, 64), np.uint8)
    weight[:, 20:] = 255
    found = run(lambda graph, w, *values: graph.blur_covered(values, w, sigma), weight, *planes)
    for plane, expected in zip(found, blur_covered(planes, weight, sigma), strict=True):
        np.testing.assert_allclose(plane[0], expected, atol=1)


def test_a_blur_wider_than_the_picture_is_refused() -> None:
    with pytest.raises(ModelRejected, match="too strong for a picture of 64x36"):
        run(lambda graph, w, x: graph.blur_covered([x], w, 100.0), noise(64, 36), noise(64, 36))


@pytest.mark.parametrize("size", [(128, 72), (320, 240), (64, 36)])
def test_edges_are_redrawn_as_the_edge_model_does_within_a_level(size: tuple[int, int]) -> None:
    fine = smooth(*size)
    coarse = resize(fine, (64, 36))
    mask = np.zeros((36, 64), np.uint8)
    cv2.ellipse(mask, (30, 30), (14, 20), 10, 0, 360, 255, -1)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.5), np.uint8)
    expected = np.empty_like(fine)
    EdgeModel()(mask, coarse, fine, out=expected)
    (found,) = run(lambda graph, *values: graph.redraw_edges(*values), mask, coarse, fine)
    np.testing.assert_allclose(found[0], expected, atol=1)
    assert np.count_nonzero((expected > 6) & (expected < 249)) > 0


def test_equal_constants_are_kept_once() -> None:
    graph = GraphBuilder()
    assert graph.number(0.5) == graph.number(0.5) != graph.number(0.25)
    assert graph.constant(as_f32(np.zeros(2, np.float32))) != graph.constant(np.zeros((2, 1), np.float32))
    assert len(graph.constants) == 4
