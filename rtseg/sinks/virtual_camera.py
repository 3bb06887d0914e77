"""A camera for other programs: a loopback device on Linux, OBS's virtual camera elsewhere."""

from __future__ import annotations

import errno
import os
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeAlias

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from rtseg.errors import ConfigError, DependencyMissing, SinkError, SinkFailed
from rtseg.sinks.planes import Converter, recoloured
from rtseg.types import Colour, Frame, Output, Size

PixelFormat: TypeAlias = Literal["yuv420p", "yuyv422"]
_FOURCC = {"yuv420p": "YU12", "yuyv422": "YUYV"}
_SYSTEM = Path("/sys/class/video4linux")
_LABEL = "rtseg"
# Consumers take cameras for BT.601 of limited range, whatever the size.
_COLOUR = Colour("bt601")
_INSTALL = (
    "sudo apt install v4l2loopback-dkms, then sudo modprobe v4l2loopback exclusive_caps=1 "
    f"card_label={_LABEL} video_nr=10"
)


class Camera(NamedTuple):
    """A virtual camera of this machine: its device, and the name that programs show."""

    device: str
    name: str


class _Device(Protocol):
    def write(self, picture: VideoFrame, /) -> None: ...
    def close(self) -> None: ...


def list_virtual_cameras(*, system: Path = _SYSTEM) -> list[Camera]:
    """The loopback devices of a Linux machine, those that are labelled "rtseg" first; none elsewhere."""
    found = []
    for entry in system.glob("video*") if system.is_dir() else ():
        try:
            name = (entry / "name").read_text().strip()
        except OSError:
            continue
        if "virtual" in entry.resolve().parts:  # /sys/devices/virtual/...: no hardware is behind it
            found.append((name != _LABEL, int(entry.name.removeprefix("video") or 0), name))
    return [Camera(f"/dev/video{number}", name) for _, number, name in sorted(found)]


class VirtualCamera:
    """Gives each output's picture to programs that take cameras: Zoom, Meet, Teams, OBS.

    device: such as `/dev/video10`; None for the first of `list_virtual_cameras` (elsewhere than on Linux: the usual
    one of pyvirtualcam). size: of the camera, None for that of the first picture; others are fitted into it with bars,
    since programs do not follow a camera that changes. format: of the samples, always BT.601 and limited range;
    "yuyv422" for the few programs that take no other. rate: frames a second, which the device says it has.

    The device is opened with the first picture. Raises DependencyMissing where there is no device, with the lines that
    make one, and SinkFailed, from then on for every frame, where it is taken, refuses the size, or is gone.
    """

    def __init__(
        self,
        device: str | None = None,
        *,
        size: tuple[int, int] | None = None,
        format: PixelFormat = "yuv420p",  # noqa: A002
        rate: float = 30.0,
    ) -> None:
        if format not in _FOURCC:
            raise ConfigError(f"format {format!r} is none of a camera's: use {' or '.join(_FOURCC)}")
        if size is not None and (min(size) < 2 or size[0] % 2 or size[1] % 2):
            raise ConfigError(f"size {size[0]}x{size[1]} is none of a camera's: use even sides, such as 1280x720")
        if not 0 < rate <= 240:
            raise ConfigError(f"rate {rate:g} is no number of frames a second: use 1 to 240, such as 30")
        self.frames = 0
        self._linux = sys.platform == "linux"
        self.device = _choose(device) if self._linux else device
        self._size, self._format, self._rate = size, format, rate
        self._convert: Converter | None = None
        self._pack = VideoReformatter()
        self._camera: _Device | None = None
        self._error: SinkError | None = None
        self._closed = False

    def write(self, output: Output, /) -> None:
        """Show `output.picture`."""
        if self._error is not None or self._closed:
            raise self._error or SinkFailed(f"the virtual camera {self.device} is closed: nothing more can be shown")
        frame = recoloured(output.picture, _COLOUR)
        try:
            if self._convert is None:
                first = frame if self._size is None else _blank(Size(*self._size))
                self._convert = Converter(first, "yuv420p", even=True, colour=_COLOUR)
            if self._camera is None:
                self._camera = self._open(self._convert.size)
            picture = self._convert(frame)
            if self._format == "yuyv422":
                picture = self._pack.reformat(picture, format="yuyv422")
            self._camera.write(picture)
        except (OSError, RuntimeError, av.error.FFmpegError) as error:  # RuntimeError: pyvirtualcam's
            raise self._fail(error) from error
        self.frames += 1

    def close(self) -> None:
        """Give the device back: programs then see no camera, or its last picture."""
        self._closed = True
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()

    def _open(self, size: Size) -> _Device:
        if not self._linux:
            return _OtherCamera(self.device, size, self._rate)
        assert self.device is not None
        camera = _V4l2Camera(self.device, size, self._format, self._rate)
        if has := _other_format(self.device, size, self._format):
            camera.close()
            raise OSError(errno.EINVAL, f"it keeps {has}")
        return camera

    def _fail(self, error: Exception) -> SinkError:
        if isinstance(error, DependencyMissing):
            raise error
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()
        size = "" if self._convert is None else f"{self._convert.size.width}x{self._convert.size.height}"
        match getattr(error, "errno", None):
            case errno.ENOENT | errno.ENODEV | errno.ENXIO:
                fix = f"make it again: {_INSTALL}"
            case errno.EACCES | errno.EPERM:
                fix = "sudo usermod -aG video $USER, and log in again"
            case errno.EBUSY:
                fix = "another program writes to it: end that one, or load v4l2loopback with devices=2"
            case errno.EINVAL | errno.ENOTTY:
                fix = (
                    f"it does not take {size} {self._format}: end the programs that show it, which hold its old size, "
                    "set size to that, or choose another device, if this is a real camera"
                )
            case _:
                fix = "see whether other programs can use it"
        cause = getattr(error, "strerror", None) or error
        self._error = SinkFailed(f"the virtual camera {self.device or ''} cannot be written to ({cause}): {fix}")
        return self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _V4l2Camera:
    """FFmpeg's output for Video4Linux: it sets the device's size and format, then writes each picture whole."""

    def __init__(self, device: str, size: Size, format: PixelFormat, rate: float) -> None:  # noqa: A002
        self._container = av.open(device, "w", format="video4linux2,v4l2")
        self._stream = raw_stream(self._container, size, format, rate)
        self._count = 0
        self._container.start_encoding()

    def write(self, picture: VideoFrame) -> None:
        picture.pts, picture.time_base = self._count, self._stream.time_base
        self._count += 1
        for packet in self._stream.encode(picture):
            self._container.mux_one(packet)

    def close(self) -> None:
        self._container.close()


class _OtherCamera:
    """pyvirtualcam's: OBS's virtual camera on Windows and macOS."""

    def __init__(self, device: str | None, size: Size, rate: float) -> None:
        try:
            import pyvirtualcam  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise DependencyMissing(
                f"{error}: pip install 'rtseg[virtualcam]' (GPL), and install OBS Studio for its camera"
            ) from error
        self._camera: Any = pyvirtualcam.Camera(
            width=size.width, height=size.height, fps=rate, fmt=pyvirtualcam.PixelFormat.I420, device=device
        )

    def write(self, picture: VideoFrame) -> None:
        self._camera.send(picture.to_ndarray(format="yuv420p").reshape(-1))

    def close(self) -> None:
        self._camera.close()


def raw_stream(container: Any, size: Size, format: PixelFormat, rate: float) -> Any:  # noqa: A002
    """A stream of pictures as they are."""
    fps = Fraction(rate).limit_denominator(1001)
    stream = container.add_stream("rawvideo", rate=fps)
    stream.width, stream.height = size
    stream.pix_fmt = format
    stream.time_base = stream.codec_context.time_base = 1 / fps
    return stream


def _choose(device: str | None) -> str:
    if device is not None:
        if not os.path.exists(device):  # noqa: PTH110 - a device is no path to work with
            raise DependencyMissing(f"there is no {device}: {_INSTALL}")
        return device
    cameras = list_virtual_cameras()
    if not cameras:
        raise DependencyMissing(f"there is no virtual camera on this machine: {_INSTALL}")
    return cameras[0].device


def _other_format(device: str, size: Size, format: PixelFormat) -> str | None:  # noqa: A002
    """What v4l2loopback says the device has, where that is something else: FFmpeg does not look after asking."""
    try:
        has = (_SYSTEM / Path(device).name / "format").read_text().strip()
    except OSError:
        return None
    wanted = f"{_FOURCC[format]}:{size.width}x{size.height}"
    return has if has and has.partition("@")[0] != wanted else None


def _blank(size: Size) -> Frame:
    half = np.full((size.height // 2, size.width // 2), 128, np.uint8)
    return Frame((np.full((size.height, size.width), 16, np.uint8), half, half), _COLOUR)
