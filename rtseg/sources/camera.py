"""Cameras: v4l2 on Linux, AVFoundation on macOS, DirectShow on Windows; unplugged, they are waited for."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

import av
from av.device import enumerate_input_devices

from rtseg.errors import ConfigError, SourceNotFound
from rtseg.sources.connection import Address, Connection
from rtseg.sources.modes import CameraInfo, choose_mode
from rtseg.sources.reconnect import Backoff, LinkChange, Reconnecting
from rtseg.sources.v4l2 import list_v4l2

_FORMATS = {"linux": "video4linux2,v4l2", "darwin": "avfoundation", "win32": "dshow"}
_ADVICE = {
    errno.EACCES: "permission denied: add yourself to the group that owns it (sudo usermod -aG video $USER), "
    "log in again, and allow cameras in the system's settings",
    errno.EPERM: "permission denied: allow cameras for this program in the system's settings",
    errno.EBUSY: "another program uses it: close that one, or give a virtual camera between the two",
    errno.ENOENT: "it is not plugged in: `rtseg cameras` lists those that are",
    errno.ENODEV: "it was unplugged",
    errno.EINVAL: "it refuses that size, rate or format: `rtseg cameras` lists its modes",
}


class Camera(Reconnecting):
    """Frames of a camera as it takes them, the newest first of all; one that is pulled out is waited for.

    device: a number, from 0, in the order of `list_cameras`, or what it is called: /dev/video0 on Linux, a name
    elsewhere. size, rate: what is wanted; the nearest mode is taken, raw pictures before MJPEG where the bus carries
    them. format: nothing but that, as FFmpeg calls it (mjpeg, yuyv422, nv12). The rest is that of `Reconnecting`.
    """

    def __init__(
        self,
        device: int | str = 0,
        *,
        size: tuple[int, int] = (1280, 720),
        rate: float = 30.0,
        format: str | None = None,  # noqa: A002 - FFmpeg's word
        open_timeout: float = 10.0,
        read_timeout: float = 5.0,
        backoff: Backoff | None = None,
        attempts: int | None = None,
        changed: Callable[[LinkChange], None] | None = None,
    ) -> None:
        if isinstance(device, int) and device < 0:
            raise ConfigError(f"camera {device} is none: cameras are counted from 0")
        if not rate > 0 or min(size) < 1:
            raise ConfigError(f"size and rate must be more than 0, not {size[0]}x{size[1]} at {rate:g}")
        device_format()  # an error here and now on a system without cameras

        def connect() -> Connection:
            address = camera_address(find_camera(device), size=size, rate=rate, format=format)
            return Connection(
                address, open_timeout=open_timeout, read_timeout=read_timeout, max_pixels=8192 * 8192, threads=1
            )

        super().__init__(
            connect,
            name=f"camera:{device}" if isinstance(device, int) else device,
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            backoff=backoff,
            attempts=attempts,
            changed=changed,
        )


def device_format() -> str:
    """FFmpeg's format for this system's cameras; ConfigError on a system that has none."""
    if (found := _FORMATS.get(sys.platform)) is None or found not in av.formats_available:
        raise ConfigError(f"no cameras on {sys.platform}: this FFmpeg has no format for them")
    return found


def list_cameras() -> list[CameraInfo]:
    """The cameras that are plugged in, in the order in which they are counted; modes on Linux only."""
    system: str = sys.platform
    if system == "linux":
        return list_v4l2()
    found = enumerate_input_devices(device_format())
    return [CameraInfo(device.name, device.description) for device in found if "video" in device.media_types]


def find_camera(device: int | str) -> CameraInfo:
    """A camera by number or by what it is called; SourceNotFound for a number that there is not."""
    cameras = list_cameras()
    if isinstance(device, str):
        named = (camera for camera in cameras if device in (camera.device, camera.name))
        return next(named, CameraInfo(device, device))
    if device >= len(cameras):
        if not cameras:
            raise SourceNotFound(f"camera {device} is not there: none is plugged in, or this system lists none")
        there = ", ".join(f"{i} ({camera.name})" for i, camera in enumerate(cameras))
        raise SourceNotFound(f"camera {device} is not there: plugged in are {there}; `rtseg cameras` lists them")
    return cameras[device]


def camera_address(
    camera: CameraInfo,
    *,
    size: tuple[int, int],
    rate: float,
    format: str | None = None,  # noqa: A002
) -> Address:
    """What FFmpeg is told to open a camera in the mode nearest to what is wanted."""
    kind, url = device_format(), camera.device
    options = {"video_size": f"{size[0]}x{size[1]}", "framerate": f"{rate:g}"}
    match kind:
        case "dshow":
            url = f"video={url}"
            options |= {"vcodec" if format in ("mjpeg", "h264") else "pixel_format": format} if format else {}
        case "avfoundation":
            options |= {"pixel_format": format or "nv12"}
        case _:
            choice = choose_mode(camera.modes, size=size, rate=rate, format=format, bus=camera.bus)
            if choice is not None:
                options = {"video_size": "x".join(map(str, choice.size)), "input_format": choice.format}
                options |= {"framerate": str(choice.rate)} if choice.rate is not None else {}
            elif format is not None:
                options |= {"input_format": format}
    return Address(url, camera.device, kind, options, advice=_ADVICE)
