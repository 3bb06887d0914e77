"""Pictures on a device: what is told without bringing them to the host, and how they come there."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import onnxruntime as ort
import pytest
from on_device import decoded, on_device

from rtseg.device import CPU, DevicePicture, WholeLines, planar, semi_planar
from rtseg.errors import FrameError
from rtseg.types import U8, Colour, Frame


def noise(size: tuple[int, int] = (322, 180), seed: int = 0) -> Frame:
    width, height = size
    chance = np.random.default_rng(seed)
    shapes = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    y, u, v = (chance.integers(0, 256, shape, dtype=np.uint8) for shape in shapes)
    return Frame((y, u, v), Colour("bt601", full_range=True), index=7, pts=70, time_base=Fraction(1, 30), epoch=2)


def test_everything_but_pixels_is_known_without_a_download() -> None:
    counts: Counter[str] = Counter()
    plain = noise()
    frame = on_device(plain, counts)
    assert (frame.size, frame.chroma_size, frame.colour) == (plain.size, plain.chroma_size, plain.colour)
    assert frame.chroma_size == (161, 90)
    assert (frame.index, frame.pts, frame.time, frame.epoch) == (7, 70, 70 / 30, 2)
    assert frame.alpha is None
    assert "on device (1, 0)" in repr(frame)
    assert frame.arrived_at(5.0).arrived == 5.0
    assert frame.arrived_at(5.0).device is frame.device
    assert frame.with_planes(plain.planes).device is None
    assert not counts
    assert plain.device is None
    assert plain.arrived_at(5.0).planes[0] is plain.planes[0]


def test_planes_come_to_the_host_once_and_are_counted() -> None:
    counts: Counter[str] = Counter()
    plain = noise()
    frame = on_device(plain, counts)
    other = frame.arrived_at(1.0)
    for plane, wanted in zip(frame.planes, plain.planes, strict=True):
        np.testing.assert_array_equal(plane, wanted)
        assert not plane.flags.writeable
    assert frame.planes is frame.planes
    assert other.planes[0].base is frame.planes[0].base
    np.testing.assert_array_equal(frame.resized((64, 36)), plain.resized((64, 36)))
    assert counts == {"downloaded": 1}


def test_threads_that_ask_at_once_share_one_download() -> None:
    counts: Counter[str] = Counter()
    plain, begun, go = noise(), threading.Event(), threading.Event()

    def slow() -> tuple[U8, U8, U8]:
        begun.set()
        assert go.wait(5)
        return plain.planes

    y, uv = semi_planar(plain.planes)
    picture = DevicePicture(y, uv, size=plain.size, download=slow, counts=counts)
    frame = plain.with_device(picture)
    threads = [threading.Thread(target=lambda: frame.planes) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(5)
    go.set()
    for thread in threads:
        thread.join(5)
    assert counts == {"downloaded": 1}


def test_a_copy_by_dataclasses_is_a_frame_on_the_host() -> None:
    plain = noise()
    copied = replace(on_device(plain), index=8)
    assert copied.device is None
    np.testing.assert_array_equal(copied.planes[1], plain.planes[1])


def test_a_frame_has_no_attribute_that_nobody_gave_it() -> None:
    for frame in (noise(), on_device(noise())):
        with pytest.raises(AttributeError, match="no attribute 'plane'"):
            frame.plane  # type: ignore[attr-defined]  # noqa: B018


def test_a_picture_of_odd_sides_or_on_two_devices_is_refused() -> None:
    class Elsewhere:
        def __dlpack__(self, *, stream: object = None) -> object:
            raise NotImplementedError

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 1

    y, uv = semi_planar(noise().planes)
    with pytest.raises(FrameError, match="even sides, not 321x180"):
        DevicePicture(y, uv, size=(321, 180), download=lambda: noise().planes)
    with pytest.raises(FrameError, match=r"not on \(1, 0\) and \(2, 1\)"):
        DevicePicture(y, Elsewhere(), size=(322, 180), download=lambda: noise().planes)


@pytest.mark.parametrize("size", [(322, 180), (320, 180)], ids=["padded", "tight"])
def test_lines_with_padding_are_taken_by_the_runtime_where_they_lie(size: tuple[int, int]) -> None:
    plain = noise(size)
    picture = decoded(plain)
    pitch = picture.planes[0].line_size
    assert (pitch > size[0]) is (size[0] == 322)
    y, uv = (ort.OrtValue.from_dlpack(WholeLines(plane)) for plane in picture.planes)
    assert (tuple(y.shape()), tuple(uv.shape())) == ((180, pitch), (90, pitch // 2, 2))
    assert [y.data_ptr(), uv.data_ptr()] == [plane.buffer_ptr for plane in picture.planes]
    found = planar(y.numpy()[:, : size[0]].copy(), uv.numpy()[:, : size[0] // 2].copy())
    for plane, wanted in zip(found, plain.planes, strict=True):
        np.testing.assert_array_equal(plane, wanted)


def test_the_memory_lives_as_long_as_the_capsule() -> None:
    plain = noise()
    picture = decoded(plain)
    value = ort.OrtValue.from_dlpack(WholeLines(picture.planes[0]))
    del picture
    gc.collect()
    others = [decoded(noise(seed=seed)) for seed in range(1, 9)]  # which would be given the same memory
    np.testing.assert_array_equal(value.numpy()[:, :322], plain.planes[0])
    assert len(others) == 8


def test_an_engines_output_becomes_an_encoders_frame_without_a_copy() -> None:
    plain = noise((320, 180))
    y, uv = (ort.OrtValue.ortvalue_from_shape_and_type(a.shape, np.uint8) for a in semi_planar(plain.planes))
    for value, array in zip((y, uv), semi_planar(plain.planes), strict=True):
        value.update_inplace(array)
    frame = av.VideoFrame.from_dlpack((y, uv), format="nv12")
    assert [plane.buffer_ptr for plane in frame.planes] == [y.data_ptr(), uv.data_ptr()]
    assert y.__dlpack_device__() == (CPU, 0)
    del y, uv
    gc.collect()
    others = [ort.OrtValue.ortvalue_from_shape_and_type((180, 320), np.uint8) for _ in range(8)]
    np.testing.assert_array_equal(np.from_dlpack(frame.planes[0]), plain.planes[0])
    assert len(others) == 8


def test_nv12_and_back_is_the_same_in_one_block() -> None:
    plain = noise()
    y, uv = semi_planar(plain.planes, 336)
    assert (y.shape, uv.shape) == ((180, 336), (90, 168, 2))
    assert not y[:, 322:].any()
    luma, u, v = planar(y[:, :322], np.ascontiguousarray(uv[:, :161]))
    for plane, wanted in zip((luma, u, v), plain.planes, strict=True):
        np.testing.assert_array_equal(plane, wanted)
    start = luma.__array_interface__["data"][0]
    assert u.__array_interface__["data"][0] == start + luma.size
    assert v.__array_interface__["data"][0] == start + luma.size + u.size
