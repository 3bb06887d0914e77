"""A camera for other programs. No loopback device exists where tests run: FFmpeg's raw muxer takes its place, which
writes the very bytes that its v4l2 output gives to a device."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from written import moving_frame, output_of

from rtseg.errors import ConfigError, DependencyMissing, SinkFailed
from rtseg.ops.fit import convert
from rtseg.sinks import virtual_camera
from rtseg.sinks.virtual_camera import Camera, PixelFormat, VirtualCamera, list_virtual_cameras
from rtseg.types import Colour, Frame

MODPROBE = "sudo modprobe v4l2loopback exclusive_caps=1 card_label=rtseg"


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of a device, which FFmpeg writes pictures to as they are."""
    path = tmp_path / "video10"
    path.touch()
    real: Any = av.open

    def open_raw(name: str, mode: str, **options: Any) -> Any:
        assert (name, mode, options) == (str(path), "w", {"format": "video4linux2,v4l2"})
        return real(name, mode, format="rawvideo")

    monkeypatch.setattr(av, "open", open_raw)
    monkeypatch.setattr(virtual_camera, "_SYSTEM", tmp_path / "class")
    return path


def pictures(path: Path, size: tuple[int, int], numbers: int) -> NDArray[np.uint8]:
    width, height = size
    data = np.frombuffer(path.read_bytes(), np.uint8)
    assert data.size == numbers * width * height * 3 // 2
    return data.reshape(numbers, -1)


def test_the_bytes_are_the_planes_of_each_picture(device: Path) -> None:
    frames = [moving_frame(i, colour=Colour("bt601")) for i in range(3)]
    with VirtualCamera(str(device)) as sink:
        for frame in frames:
            sink.write(output_of(frame))
    written = pictures(device, (64, 48), 3)
    for each, frame in zip(written, frames, strict=True):
        assert np.array_equal(each, np.concatenate([plane.reshape(-1) for plane in frame.planes]))
    assert sink.frames == 3


@pytest.mark.parametrize("colour", [Colour("bt709"), Colour("bt601", full_range=True)], ids=str)
def test_samples_are_limited_bt601_whatever_the_frame_has(device: Path, colour: Colour) -> None:
    frame = Frame.from_rgb(np.full((48, 64, 3), (200, 60, 40), np.uint8), colour=colour)
    with VirtualCamera(str(device)) as sink:
        sink.write(output_of(frame))
    expected = convert(frame.planes, colour, Colour("bt601"))
    assert np.array_equal(pictures(device, (64, 48), 1)[0], np.concatenate([plane.reshape(-1) for plane in expected]))


def test_yuyv_is_packed(device: Path) -> None:
    frame = moving_frame(2, colour=Colour("bt601"))
    with VirtualCamera(str(device), format="yuyv422") as sink:
        sink.write(output_of(frame))
    lines = np.frombuffer(device.read_bytes(), np.uint8).reshape(48, 64, 2)
    assert np.array_equal(lines[..., 0], frame.planes[0])
    assert (lines[..., 1] == 128).all()


def test_the_camera_keeps_its_size(device: Path) -> None:
    with VirtualCamera(str(device), size=(64, 48)) as sink:
        sink.write(output_of(moving_frame(1, size=(96, 48), colour=Colour("bt601"))))
        sink.write(output_of(moving_frame(1, size=(64, 48), colour=Colour("bt601"))))
    wide, same = (each[: 64 * 48].reshape(48, 64) for each in pictures(device, (64, 48), 2))
    assert (wide[:6] == 16).all()  # 64x32 with bars
    assert int(wide[24, 50]) == 19
    assert int(same[0, 50]) == 19


def test_cameras_are_those_without_hardware_and_ours_first(tmp_path: Path) -> None:
    devices, system = tmp_path / "devices", tmp_path / "class"
    system.mkdir()
    for place, number, name in [
        ("pci/usb1", 0, "Integrated Camera"),
        ("virtual/video4linux", 2, "OBS Virtual Camera"),
        ("virtual/video4linux", 10, "rtseg"),
    ]:
        folder = devices / place / f"video{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (system / folder.name).symlink_to(folder)
    expected = [Camera("/dev/video10", "rtseg"), Camera("/dev/video2", "OBS Virtual Camera")]
    assert list_virtual_cameras(system=system) == expected
    assert list_virtual_cameras(system=tmp_path / "nothing") == []


def test_without_a_device_the_lines_that_make_one_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_camera, "list_virtual_cameras", list)
    for device in (None, "/dev/video63"):
        with pytest.raises(DependencyMissing) as caught:
            VirtualCamera(device)
        assert "v4l2loopback-dkms" in str(caught.value)
        assert MODPROBE in str(caught.value)


def test_the_first_virtual_camera_is_taken(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_camera, "list_virtual_cameras", lambda: [Camera(str(device), "rtseg")])
    with VirtualCamera() as sink:
        assert sink.device == str(device)


def test_a_file_that_is_no_device_is_refused_by_the_real_output(tmp_path: Path) -> None:
    (tmp_path / "video11").touch()
    sink = VirtualCamera(str(tmp_path / "video11"))
    with pytest.raises(SinkFailed, match="does not take 64x48 yuv420p") as caught:
        sink.write(output_of(moving_frame(0)))
    with pytest.raises(SinkFailed) as again:
        sink.write(output_of(moving_frame(0)))
    assert again.value is caught.value
    sink.close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EBUSY, "another program writes to it"),
        (errno.EACCES, "usermod -aG video"),
        (errno.EINVAL, "end the programs that show it"),
        (errno.ENODEV, "modprobe v4l2loopback"),
        (errno.EIO, "see whether other programs"),
    ],
)
def test_what_the_system_says_becomes_what_to_do(
    device: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    sink = VirtualCamera(str(device))
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(SinkFailed, match=words):
        sink.write(output_of(moving_frame(0)))


@pytest.mark.parametrize(
    ("kept", "format_", "fails"),
    [
        ("YU12:64x48@30", "yuv420p", False),
        ("YUYV:64x48@30", "yuyv422", False),
        ("", "yuv420p", False),
        ("YU12:640x480@30", "yuv420p", True),
        ("YUYV:64x48@30", "yuv420p", True),
    ],
)
def test_a_device_that_keeps_another_format_is_noticed(
    device: Path, tmp_path: Path, kept: str, format_: PixelFormat, fails: bool
) -> None:
    (tmp_path / "class" / device.name).mkdir(parents=True)
    (tmp_path / "class" / device.name / "format").write_text(f"{kept}\n")
    sink = VirtualCamera(str(device), format=format_)
    if not fails:
        sink.write(output_of(moving_frame(0)))
        return
    with pytest.raises(SinkFailed, match=f"it keeps {kept}"):
        sink.write(output_of(moving_frame(0)))


class OtherCamera:
    """What pyvirtualcam's camera takes."""

    made: ClassVar[list[OtherCamera]] = []

    def __init__(self, **options: Any) -> None:
        self.options, self.sent, self.closed = options, list[Any](), False
        self.made.append(self)

    def send(self, picture: NDArray[np.uint8]) -> None:
        self.sent.append(picture.copy())

    def close(self) -> None:
        self.closed = True


def test_elsewhere_pyvirtualcam_gets_the_same_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(DependencyMissing, match=r"rtseg\[virtualcam\]"):
        VirtualCamera().write(output_of(moving_frame(0)))
    fake = SimpleNamespace(Camera=OtherCamera, PixelFormat=SimpleNamespace(I420="i420"))
    monkeypatch.setitem(sys.modules, "pyvirtualcam", fake)
    frame = moving_frame(3, colour=Colour("bt601"))
    with VirtualCamera(rate=25.0) as sink:
        sink.write(output_of(frame))
    (camera,) = OtherCamera.made
    assert camera.options == {"width": 64, "height": 48, "fps": 25.0, "fmt": "i420", "device": None}
    assert np.array_equal(camera.sent[0], np.concatenate([plane.reshape(-1) for plane in frame.planes]))
    assert camera.closed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "nv12"}, "format 'nv12'"),
        ({"size": (641, 480)}, "even sides"),
        ({"size": (0, 0)}, "even sides"),
        ({"rate": 0.0}, "rate 0"),
    ],
)
def test_what_no_camera_has_is_a_configuration_error(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        VirtualCamera("/dev/null", **options)
