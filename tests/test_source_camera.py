"""Cameras without a camera: a driver that answers ioctls as linux/videodev2.h says, and FFmpeg's test pattern.

No machine that runs these tests has a camera, so what a real one does to FFmpeg is not tested here.
"""

from __future__ import annotations

import ctypes
import errno
import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from rtseg.cli.main import main
from rtseg.errors import ConfigError, SourceNotFound, SourceUnreadable
from rtseg.sources import camera as cameras
from rtseg.sources import v4l2
from rtseg.sources.camera import Camera, camera_address, find_camera
from rtseg.sources.connection import Address, explained
from rtseg.sources.modes import CameraInfo, Choice, Mode, choose_mode
from rtseg.sources.reconnect import Backoff, LinkChange, LinkState
from rtseg.types import Size

linux = pytest.mark.skipif(sys.platform != "linux", reason="V4L2 is Linux's")
WEBCAM = [("YUYV", [((640, 480), [30, 15]), ((1280, 720), [10])]), ("MJPG", [((1280, 720), [60, 30])])]


class Driver:
    """What a webcam's driver answers; structures by ctypes, so that offsets are not those of the code under test."""

    class Capability(ctypes.Structure):
        _fields_ = [
            ("driver", ctypes.c_char * 16),
            ("card", ctypes.c_char * 32),
            ("bus_info", ctypes.c_char * 32),
            ("version", ctypes.c_uint32),
            ("capabilities", ctypes.c_uint32),
            ("device_caps", ctypes.c_uint32),
            ("reserved", ctypes.c_uint32 * 3),
        ]

    class FmtDesc(ctypes.Structure):
        _fields_ = [
            ("index", ctypes.c_uint32),
            ("type", ctypes.c_uint32),
            ("flags", ctypes.c_uint32),
            ("description", ctypes.c_char * 32),
            ("pixelformat", ctypes.c_char * 4),
            ("mbus_code", ctypes.c_uint32),
            ("reserved", ctypes.c_uint32 * 3),
        ]

    class FrmSize(ctypes.Structure):
        _fields_ = [
            ("index", ctypes.c_uint32),
            ("pixel_format", ctypes.c_char * 4),
            ("type", ctypes.c_uint32),
            ("numbers", ctypes.c_uint32 * 6),
            ("reserved", ctypes.c_uint32 * 2),
        ]

    class FrmIval(ctypes.Structure):
        _fields_ = [
            ("index", ctypes.c_uint32),
            ("pixel_format", ctypes.c_char * 4),
            ("width", ctypes.c_uint32),
            ("height", ctypes.c_uint32),
            ("type", ctypes.c_uint32),
            ("numbers", ctypes.c_uint32 * 6),
            ("reserved", ctypes.c_uint32 * 2),
        ]

    def __init__(self, *, caps: int = 0x84200001, own: int = 0x04200001, stepwise: bool = False) -> None:
        self.caps, self.own, self.stepwise = caps, own, stepwise

    def __call__(self, _: int, number: int, data: bytearray) -> int:
        assert (number >> 16) & 0x3FFF == len(data), "the number of an ioctl holds the size of its structure"
        match number:
            case v4l2.QUERYCAP:
                answer = self.Capability.from_buffer(data)
                answer.card, answer.bus_info = "Câmera HD".encode(), b"usb-0000:00:14.0-1"
                answer.capabilities, answer.device_caps = self.caps, self.own
            case v4l2.ENUM_FMT:
                desc = self.FmtDesc.from_buffer(data)
                assert desc.type == 1
                desc.pixelformat = self.item(WEBCAM, desc.index)[0].encode()
            case v4l2.ENUM_FRAMESIZES:
                size = self.FrmSize.from_buffer(data)
                if self.stepwise:
                    self.item([0], size.index)
                    size.type, size.numbers = 3, (ctypes.c_uint32 * 6)(160, 1280, 16, 120, 720, 8)
                else:
                    sizes = dict(WEBCAM)[size.pixel_format.decode()]
                    size.type, (size.numbers[0], size.numbers[1]) = 1, self.item(sizes, size.index)[0]
            case v4l2.ENUM_FRAMEINTERVALS:
                ival = self.FrmIval.from_buffer(data)
                rates = dict(dict(WEBCAM)[ival.pixel_format.decode()]).get((ival.width, ival.height), [25])
                ival.type, ival.numbers[0], ival.numbers[1] = 1, 1, self.item(rates, ival.index)
            case _:
                raise OSError(errno.ENOTTY, "?")
        return 0

    @staticmethod
    def item(items: list[Any], index: int) -> Any:
        if index >= len(items):
            raise OSError(errno.EINVAL, "the end")
        return items[index]


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    for name in ("video10", "video2", "video0", "videosomething"):
        (tmp_path / name).touch()
    return tmp_path


@linux
def test_cameras_are_listed_by_number_with_their_modes(devices: Path) -> None:
    found = v4l2.list_v4l2(devices=devices, ioctl=Driver())
    assert [camera.device for camera in found] == [str(devices / f"video{n}") for n in (0, 2, 10)]
    assert (found[0].name, found[0].bus, found[0].note) == ("Câmera HD", "usb-0000:00:14.0-1", "")
    assert found[0].modes == (
        Mode("YUYV", Size(640, 480), (Fraction(30), Fraction(15))),
        Mode("YUYV", Size(1280, 720), (Fraction(10),)),
        Mode("MJPG", Size(1280, 720), (Fraction(60), Fraction(30))),
    )


@linux
@pytest.mark.parametrize("driver", [Driver(own=0x04A00000), Driver(caps=0x04000002, own=0)], ids=["metadata", "output"])
def test_what_takes_no_pictures_is_no_camera(devices: Path, driver: Driver) -> None:
    assert v4l2.list_v4l2(devices=devices, ioctl=driver) == []


@linux
def test_a_camera_of_any_size_has_the_usual_ones_and_its_largest(devices: Path) -> None:
    sizes = {mode.size for mode in v4l2.list_v4l2(devices=devices, ioctl=Driver(stepwise=True))[0].modes}
    assert sizes == {(640, 360), (640, 480), (1280, 720)}


@linux
def test_a_file_that_is_no_device_is_passed_over(devices: Path) -> None:
    assert v4l2.list_v4l2(devices=devices) == []  # the system's own ioctl says ENOTTY


@linux
def test_a_camera_that_may_not_be_opened_is_listed_with_the_reason(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("rtseg.sources.v4l2.os.open", refuse)
    assert [camera.note for camera in v4l2.list_v4l2(devices=devices)] == ["Permission denied"] * 3


MODES = (
    Mode("YUYV", Size(640, 480), (Fraction(30),)),
    Mode("YUYV", Size(1280, 720), (Fraction(30), Fraction(10))),
    Mode("MJPG", Size(1280, 720), (Fraction(60), Fraction(30))),
    Mode("H264", Size(1920, 1080), (Fraction(30),)),
    Mode("XYZW", Size(1280, 720), (Fraction(30),)),
)


@pytest.mark.parametrize(
    ("size", "rate", "format_", "bus", "chosen"),
    [
        ((1280, 720), 30, None, "pci-1", Choice("yuyv422", Size(1280, 720), Fraction(30))),
        ((1280, 720), 30, None, "usb-1", Choice("mjpeg", Size(1280, 720), Fraction(30))),  # 55 MB/s as YUYV
        ((640, 480), 30, None, "usb-1", Choice("yuyv422", Size(640, 480), Fraction(30))),
        ((1280, 720), 60, None, "pci-1", Choice("mjpeg", Size(1280, 720), Fraction(60))),
        ((1280, 720), 10, None, "usb-1", Choice("yuyv422", Size(1280, 720), Fraction(10))),
        ((1920, 1080), 30, None, "usb-1", Choice("h264", Size(1920, 1080), Fraction(30))),
        ((1280, 720), 30, "yuyv422", "usb-1", Choice("yuyv422", Size(1280, 720), Fraction(30))),
        ((1280, 720), 30, "MJPG", "pci-1", Choice("mjpeg", Size(1280, 720), Fraction(30))),
        ((600, 400), 15, None, "usb-1", Choice("yuyv422", Size(640, 480), Fraction(30))),
        ((640, 480), 30, "nv12", "usb-1", None),
    ],
)
def test_the_nearest_mode_that_reaches_the_rate_is_taken(
    size: tuple[int, int], rate: float, format_: str | None, bus: str, chosen: Choice | None
) -> None:
    assert choose_mode(MODES, size=size, rate=rate, format=format_, bus=bus) == chosen


@linux
def test_ffmpeg_is_asked_for_the_chosen_mode() -> None:
    info = CameraInfo("/dev/video0", "webcam", MODES, bus="usb-1")
    address = camera_address(info, size=(1280, 720), rate=30, format=None)
    assert (address.url, address.format) == ("/dev/video0", "video4linux2,v4l2")
    assert address.options == {"video_size": "1280x720", "input_format": "mjpeg", "framerate": "30"}
    bare = camera_address(CameraInfo("/dev/video0", "?"), size=(640, 480), rate=29.97, format="nv12")
    assert bare.options == {"video_size": "640x480", "framerate": "29.97", "input_format": "nv12"}


@pytest.mark.parametrize(
    ("system", "url", "options"),
    [
        ("avfoundation", "FaceTime", {"pixel_format": "nv12"}),
        ("dshow", "video=FaceTime", {}),
    ],
)
def test_other_systems_are_asked_in_their_own_words(
    monkeypatch: pytest.MonkeyPatch, system: str, url: str, options: dict[str, str]
) -> None:
    """Mock for missing systems: macOS and Windows."""
    monkeypatch.setattr(cameras, "device_format", lambda: system)
    address = camera_address(CameraInfo("FaceTime", "FaceTime"), size=(640, 480), rate=30, format=None)
    assert (address.url, address.options) == (url, {"video_size": "640x480", "framerate": "30", **options})


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EACCES, "permission denied: add yourself to the group"),
        (errno.EBUSY, "another program uses it: close that one"),
        (errno.ENOENT, "it is not plugged in: `rtseg cameras` lists"),
        (errno.EINVAL, "it refuses that size, rate or format"),
    ],
)
def test_what_keeps_a_camera_shut_names_the_fix(number: int, fix: str) -> None:
    address = Address("/dev/video0", "/dev/video0", advice=cameras._ADVICE)
    error = explained(OSError(number, "said by the system", "/dev/video0"), address)
    assert str(error).startswith(f"/dev/video0 cannot be read: {fix}")


@linux
def test_a_device_that_is_not_there_is_told_so_by_ffmpeg_itself() -> None:
    with pytest.raises(SourceUnreadable, match=r"/dev/video987 cannot be read: it is not plugged in"):
        Camera("/dev/video987", attempts=1)


def stand_in(monkeypatch: pytest.MonkeyPatch, plugged: Callable[[], bool]) -> None:
    """Mock for missing hardware: FFmpeg's test pattern, 5 frames of it, where the camera would be."""
    info = CameraInfo("testsrc2=size=160x120:rate=25:duration=0.2", "pattern")
    monkeypatch.setattr(cameras, "list_cameras", lambda: [info] if plugged() else [])
    monkeypatch.setattr(cameras, "device_format", lambda: "lavfi")
    monkeypatch.setattr(cameras, "camera_address", lambda found, **_: Address(found.device, found.device, "lavfi"))


def test_a_camera_that_is_pulled_out_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[LinkChange] = []
    # Gone until there were two failures, as often as it is looked for.
    stand_in(monkeypatch, lambda: sum(change.state is LinkState.LOST for change in changes) not in (1, 2))
    source = Camera(0, backoff=Backoff(first=0.01, factor=1), changed=changes.append)
    for frame in source:
        if frame.epoch == 1:
            break
    assert frame.size == (160, 120)
    reasons = [change.reason for change in changes if change.state is LinkState.LOST][:3]
    assert reasons[0] == "the stream ended"
    assert reasons[1].startswith("camera 0 is not there: none is plugged in")


def test_a_number_that_there_is_not_names_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, lambda: True)
    with pytest.raises(SourceNotFound, match=r"camera 3 is not there: plugged in are 0 \(pattern\)"):
        find_camera(3)
    assert find_camera("pattern").device.startswith("testsrc2")


@pytest.mark.parametrize("options", [{"size": (0, 480)}, {"rate": 0}, {"device": -1}])
def test_a_camera_without_size_or_rate_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"must be more than 0|is none: cameras are counted from 0"):
        Camera(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("json_", [False, True])
def test_the_command_lists_cameras(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], json_: bool
) -> None:
    info = CameraInfo("/dev/video0", "webcam", MODES[2:3])
    monkeypatch.setattr(cameras, "list_cameras", lambda: [info])
    with pytest.raises(SystemExit) as left:
        main(["cameras", *(["--json"] if json_ else [])])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    if json_:
        modes = [{"format": "MJPG", "size": [1280, 720], "rates": [60.0, 30.0]}]
        assert json.loads(shown) == [
            {"camera": 0, "device": "/dev/video0", "name": "webcam", "note": "", "modes": modes}
        ]
    else:
        assert shown == "camera:0  /dev/video0  webcam\n  MJPG  1280x720  60, 30\n"


def test_the_command_says_so_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cameras, "list_cameras", list)
    with pytest.raises(SystemExit) as left:
        main(["cameras"])
    assert left.value.code == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "No camera is plugged in, or this system lists none.\n")


@linux
def test_ffmpeg_has_the_format_of_linux() -> None:
    assert cameras.device_format() in av.formats_available
