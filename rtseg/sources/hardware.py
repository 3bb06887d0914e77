"""Decoding on hardware: which device is taken, what is told when it is not, and who goes on when it fails."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import av
from av.codec import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.packet import Packet

from rtseg.device import DevicePicture
from rtseg.errors import ConfigError, SourceError, SourceUnreadable
from rtseg.inference.gate import GATE
from rtseg.sources.opening import open_media, video_of
from rtseg.sources.planes import PlaneReader

_log = logging.getLogger(__name__)

_AUTO = ("cuda", "videotoolbox", "d3d11va", "vaapi")
_PATIENCE = 3
"""Errors in a row after which it is the hardware that fails, and not the video."""
_KEPT = 64 << 20
"""Bytes of packets that are kept so that software can begin at a key frame."""


class Decoder(Protocol):
    """What `VideoFile` asks of one."""

    def decode(self, packet: Packet[Any] | None = None, /) -> list[av.VideoFrame]:
        """The frames that a packet completes."""
        ...

    def flush_buffers(self) -> None:
        """Forget all packets: the next one is from another place."""
        ...


@dataclass(frozen=True, eq=False)
class Opened:
    """A container whose video is decoded on `device`, and the same in software; None for software alone."""

    container: InputContainer
    device: str | None = None
    software: InputContainer | None = None


def check_hardware(name: str) -> None:
    """Raise ConfigError for what is no device of this FFmpeg."""
    built = hwdevices_available()
    if name not in ("none", "auto", *built):
        raise ConfigError(
            f"unknown hardware {name!r} to decode on: use none, auto or what this FFmpeg was built with, "
            f"{', '.join(built) or 'which is nothing'}"
        )


def open_on(path: Path, hardware: str, *, max_pixels: int, on_device: bool) -> Opened:
    """A local file, decoded on `hardware`: a device's name, "auto" for the first that works, "none" for software.

    on_device: frames stay there, which only "cuda" can. What was chosen is logged. Raises ConfigError for an unknown
    name, SourceError where a device that was named does not work, and what `open_media` raises for the file.
    """
    check_hardware(hardware)
    plain = open_media(path, max_pixels=max_pixels)
    if hardware == "none":
        return Opened(plain)
    automatic = hardware == "auto"
    built = hwdevices_available()
    for name in [name for name in _AUTO if name in built] if automatic else [hardware]:
        try:
            container = _open_with(path, name, max_pixels=max_pixels, on_device=on_device)
        except SourceError as error:
            if not automatic:
                plain.close()
                raise
            _log.info("auto: passed over %s: %s", name, error)
        else:
            _log.info("%s is decoded on %s", path, name)
            return Opened(container, name, plain)
    _log.info("auto: %s is decoded in software", path)
    return Opened(plain)


def _open_with(path: Path, name: str, *, max_pixels: int, on_device: bool) -> InputContainer:
    owned = on_device and name == "cuda"
    reason, primary = "", {"primary_ctx": "1"}
    # A context that the network's runtime made first has other flags than FFmpeg wants: then the one of this thread.
    for options in (primary, {"primary_ctx": "0", "current_ctx": "1"}) if owned else ({},):
        # FFmpeg's own fallback is silent: a format that the device does not know is for `Handover`, which says so.
        accel = HWAccel(name, allow_software_fallback=False, options=dict(options), is_hw_owned=owned)
        try:
            container = open_media(path, max_pixels=max_pixels, hardware=accel)
        except SourceUnreadable as error:  # the file itself was opened before: this is the device
            reason = reason or str(error.__cause__ or error)
            continue
        if (context := video_of(container, path).codec_context).is_hwaccel:
            return container
        reason = f"it does not decode {context.name}"
        container.close()
    raise SourceError(
        f"{path} cannot be decoded on {name} ({reason}): install its driver, or use hardware auto or none; "
        f"this FFmpeg was built with {', '.join(hwdevices_available())}"
    )


def reserve_cuda() -> HWAccel | None:
    """FFmpeg's hold on the first CUDA device, to be had before ONNX Runtime starts there; None without such a device.

    FFmpeg refuses a context that another library has made with flags of its own, while others take FFmpeg's as it is.
    """
    try:
        return HWAccel("cuda", is_hw_owned=True).create(Codec("h264", "r"))
    except (av.error.FFmpegError, NotImplementedError, OSError):
        return None


def device_picture(frame: av.VideoFrame, counts: Counter[str], *, format: str) -> DevicePicture | None:  # noqa: A002
    """The planes of a frame that is on a device, as they lie there; None for what is no NV12 of even sides.

    format: of the planes. counts: where "downloaded" is added to.
    """
    if format != "nv12" or frame.width % 2 or frame.height % 2:
        return None
    y, uv = frame.planes
    if y.line_size != uv.line_size or y.line_size < frame.width:
        return None
    return DevicePicture(
        y,
        uv,
        size=(frame.width, frame.height),
        pitch=y.line_size,
        download=lambda: PlaneReader()(downloaded(frame))[0],
        counts=counts,
    )


def format_on_device(frame: av.VideoFrame) -> str | None:
    """The format of a frame's planes on its device, None for a frame on the host."""
    planes = frame.sw_format
    return None if planes is None else planes.name


def downloaded(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame in the host's memory: itself where it is there."""
    planes = frame.sw_format
    return frame if planes is None else frame.reformat(format=planes.name)


class Handover:
    """Decodes on hardware, and in software for good once the hardware fails at several packets in a row.

    Packets since the last key frame but one are kept, up to 64 MiB: software begins there, and gives the frames that
    the hardware did not, so that none is lost. Where they were too many, or have no times, it begins at the next key
    frame. counts: "hardware_failures", and "missing_frames" for what is lost then; "corrupt_packets" of those that
    software decodes after all are taken back.

    `decode` raises what a decoder raises for a packet that is damaged.
    """

    def __init__(self, hardware: Decoder, software: Decoder, *, name: str, counts: Counter[str]) -> None:
        self._hardware, self._software, self._name, self._counts = hardware, software, name, counts
        self._failed = self._waiting = False
        self._errors = 0
        self._shown: int | None = None
        self.begin()

    def decode(self, packet: Packet[Any] | None = None, /) -> list[av.VideoFrame]:
        """The frames that a packet completes."""
        if self._failed:
            return self._decode_late(packet)
        try:
            with GATE.working():
                frames = self._hardware.decode(packet)
        except EOFError:
            raise
        except (av.error.FFmpegError, OSError) as error:
            self._keep(packet, failed=True)
            self._errors += 1
            if self._errors < _PATIENCE:
                raise
            return self._take_over(error)
        self._keep(packet, failed=False)
        self._errors = 0
        for frame in frames:
            if frame.pts is not None and (self._shown is None or frame.pts > self._shown):
                self._shown = frame.pts
        return frames

    def begin(self) -> None:
        """Forget all packets: the next one is from another place of the file."""
        self._kept: list[tuple[Packet[Any], bool]] = []
        self._key = self._bytes = self._errors = 0
        self._keys = 2  # since packets were dropped: with two, all that a decoder holds back comes after the first
        self._shown = None
        if self._failed:
            self._software.flush_buffers()
            self._counts["hardware_failures"] = 1  # the source counts anew, too

    def _keep(self, packet: Packet[Any] | None, *, failed: bool) -> None:
        if packet is None:
            return
        if packet.is_keyframe:
            gone, self._kept = self._kept[: self._key], self._kept[self._key :]
            self._bytes -= sum(old.size for old, _ in gone)
            self._key = len(self._kept)
            self._keys += 1
        if self._keys:
            self._kept.append((packet, failed))
            self._bytes += packet.size
        if self._bytes > _KEPT:
            self._kept, self._key, self._bytes, self._keys = [], 0, 0, 0

    def _take_over(self, error: Exception) -> list[av.VideoFrame]:
        self._failed = True
        self._counts["hardware_failures"] += 1
        replayed = self._keys >= 2 and all(packet.pts is not None for packet, _ in self._kept if packet.size)
        _log.warning(
            "%s fails at decoding (%s): software goes on from %s",
            self._name,
            error,
            "the last key frame, and no frame is lost" if replayed else "the next key frame",
        )
        kept, self._kept = self._kept, []
        if not replayed:
            self._waiting = True
            self._counts["missing_frames"] += 1
            return []
        frames = []
        for number, (packet, failed) in enumerate(kept, start=1):
            counted = failed and number < len(kept)
            try:
                frames += self._software.decode(packet)
            except EOFError:
                break
            except (av.error.FFmpegError, OSError):
                self._counts["corrupt_packets"] += not counted
            else:
                self._counts["corrupt_packets"] -= counted
        return [frame for frame in frames if frame.pts is None or self._shown is None or frame.pts > self._shown]

    def _decode_late(self, packet: Packet[Any] | None) -> list[av.VideoFrame]:
        if self._waiting and packet is not None and packet.size:
            if not packet.is_keyframe:
                self._counts["missing_frames"] += 1
                return []
            self._waiting = False
        return self._software.decode(packet)
