"""Buffers of GStreamer as planes and back, with and without padding."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from rtseg.gstreamer.memory import Format, Layout, Mapped, read_planes, write_planes
from rtseg.types import Size

LAYOUTS = [
    Layout("I420", Size(8, 4), (0, 32, 40), (8, 4, 4)),
    Layout("I420", Size(7, 5), (5, 100, 200), (16, 9, 11)),  # odd sides, padding, gaps
    Layout("NV12", Size(8, 4), (0, 32), (8, 8)),
    Layout("NV12", Size(7, 5), (3, 90), (12, 20)),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=repr)
def test_planes_come_back_and_padding_stays(layout: Layout) -> None:
    width, height = layout.size
    half = ((height + 1) // 2, (width + 1) // 2)
    rng = np.random.default_rng(0)
    y, u, v = (rng.integers(0, 256, shape, np.uint8) for shape in ((height, width), half, half))
    data = np.full(300, 77, np.uint8)
    write_planes((y, u, v), data, layout)
    for plane, wanted in zip(read_planes(data, layout), (y, u, v), strict=True):
        np.testing.assert_array_equal(plane, wanted)
    untouched = np.full(300, 77, np.uint8)
    for view in layout.views(untouched):
        view[:] = 0
    assert (data[untouched == 77] == 77).all()
    assert (untouched == 0).sum() == y.size + u.size + v.size


def test_i420_is_read_without_a_copy_and_nv12_copies_its_chroma_only() -> None:
    data = np.zeros(48, np.uint8)
    assert all(np.shares_memory(plane, data) for plane in read_planes(data, LAYOUTS[0]))
    y, u, v = read_planes(data, LAYOUTS[2])
    assert np.shares_memory(y, data)
    assert not np.shares_memory(u, data)
    assert not np.shares_memory(v, data)


@pytest.mark.parametrize("format", ["I420", "NV12"])
def test_a_buffer_that_is_too_small_is_not_read(format: Format) -> None:  # noqa: A002
    layout = Layout(format, Size(8, 4), (0, 32, 40), (8, 4 if format == "I420" else 8, 4))
    with pytest.raises(ValueError, match="47 bytes is too small"):
        read_planes(np.zeros(47, np.uint8), layout)
    with pytest.raises(ValueError, match="too small"):
        read_planes(np.zeros(48, np.uint8), Layout(format, Size(8, 4), (0, 32, 40), (4, 4, 4)))


def test_mapped_memory_is_given_back_after_the_last_view_of_it() -> None:
    given_back: list[bool] = []
    mapped = np.asarray(Mapped(memoryview(bytearray(range(48))), lambda: given_back.append(True)))
    assert not mapped.flags.writeable
    planes = read_planes(mapped, LAYOUTS[0])
    kept = planes[1][1:, 1:]
    del mapped, planes
    gc.collect()
    assert not given_back
    assert kept.tolist() == [[37, 38, 39]]
    del kept
    gc.collect()
    assert given_back == [True]
