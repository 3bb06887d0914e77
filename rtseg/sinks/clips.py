"""Parts of a video cut out without encoding anything again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream

from rtseg.errors import SinkError
from rtseg.sinks.codecs import Container, container_of
from rtseg.sinks.files import PartFile


@dataclass(frozen=True, slots=True)
class Clip:
    """What was cut: seconds of the input's time of the first and behind the last frame; `start` is zero in the clip."""

    start: float
    end: float
    frames: int


def cut(source: str | os.PathLike[str], path: str | os.PathLike[str], *, start: float, end: float) -> Clip:
    """Copy the packets of `source` from the key frame at or before `start` seconds until `end` into `path`.

    Video and audio keep their packets, byte for byte, and their times, less those of the first frame; an audio stream
    that the container cannot hold is left out. Players begin at the key frame, so a clip begins up to a group of
    pictures early: `Clip.start` says where. What frames before `end` lean on is kept, so that none is missing.

    Raises SinkError where nothing can be cut there, or the container does not hold the codec.
    """
    file = PartFile(path, inputs=(os.fspath(source),))
    try:
        with contextlib.closing(av.open(f"file:{os.path.realpath(source)}", metadata_errors="replace")) as read:
            made = _copy(read, file, container_of(path), Fraction(start), Fraction(end))
    except (OSError, ValueError, av.error.FFmpegError) as error:
        file.discard()
        if isinstance(error, SinkError):
            raise
        raise file.failure(error) from error
    file.publish()
    return made


def _copy(read: Any, file: PartFile, container: Container, start: Fraction, end: Fraction) -> Clip:
    video = next((stream for stream in read.streams.video if stream.codec_context is not None), None)
    if video is None:
        raise SinkError(f"no clip {file.path}: the input has no video")
    tick = video.time_base
    read.seek(max(0, int(start / tick)), stream=video, backward=True, any_frame=False)
    with contextlib.closing(av.open(str(file.part), "w", format=container)) as out:
        targets: dict[int, Any] = {video.index: out.add_stream_from_template(video)}
        for stream in read.streams.audio:
            with contextlib.suppress(ValueError, av.error.FFmpegError):  # a codec that the container does not hold
                targets[stream.index] = out.add_stream_from_template(stream)
        return _packets(
            _timed(read.demux([read.streams[index] for index in targets]), video), out, targets, video, end, file
        )


def _timed(packets: Iterable[Any], video: Any) -> Iterator[Any]:
    """Packets with a time of decoding; Matroska keeps none, and FFmpeg knows it only some frames after a seek."""
    waiting: list[Any] = []
    for packet in packets:
        if not packet.size:
            continue
        if packet.dts is not None:
            if packet.stream_index == video.index:
                yield from _filled(waiting, packet.dts)
                waiting = []
            yield packet
        elif packet.stream_index == video.index and (waiting or packet.is_keyframe):
            waiting.append(packet)
    yield from _filled(waiting, None)


def _filled(waiting: list[Any], following: int | None) -> Iterator[Any]:
    for place, packet in enumerate(waiting):
        before = (len(waiting) - place) * max(1, packet.duration or 0)
        packet.dts = packet.pts if following is None else following - before
        yield packet


def _packets(
    packets: Any,
    out: Any,
    targets: dict[int, Any],
    video: Any,
    end: Fraction,
    file: PartFile,
) -> Clip:
    zero: Fraction | None = None
    last, frames = Fraction(0), 0
    early: list[Any] = []
    for packet in packets:
        at = packet.pts * packet.time_base if packet.pts is not None else packet.dts * packet.time_base
        if packet.stream_index == video.index:
            if zero is None:
                if not packet.is_keyframe:
                    continue
                zero = at
                for kept in early:
                    _mux(kept, out, targets, zero)
                early.clear()
            if packet.dts * packet.time_base >= end and at >= last:  # else it fills a gap before a frame that is there
                break
            if at < zero:  # leads up to the key frame from a group that was left out
                continue
            frames += 1
            last = max(last, at + (packet.duration or 0) * packet.time_base)
        elif at >= end:
            continue
        elif zero is None:
            early.append(packet)
            continue
        _mux(packet, out, targets, zero)
    if zero is None or not frames:
        raise SinkError(f"no clip {file.path}: the input has no key frame before {float(end):g} s")
    return Clip(float(zero), float(last), frames)


def _mux(packet: Any, out: Any, targets: dict[int, Any], zero: Fraction) -> None:
    shift = round(zero / packet.time_base)
    if packet.pts is not None and isinstance(targets[packet.stream_index], AudioStream) and packet.pts < shift:
        return  # before the first frame
    packet.dts -= shift
    if packet.pts is not None:
        packet.pts -= shift
    packet.stream = targets[packet.stream_index]
    out.mux(packet)
