"""Outputs to write, and what became of them, for the tests of the sinks."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from rtseg.frame import BT709
from rtseg.types import U8, Colour, Frame, Output, Regions, Size


def moving_frame(
    index: int,
    *,
    pts: int | None = None,
    time_base: Fraction = Fraction(1, 30),
    size: tuple[int, int] = (64, 48),
    duration: int = 0,
    alpha: U8 | None = None,
    colour: Colour = BT709,
) -> Frame:
    """A bar over a brightness that changes from frame to frame, in one block of memory."""
    width, height = size
    chroma = ((height + 1) // 2, (width + 1) // 2)
    luma, half = width * height, chroma[0] * chroma[1]
    block = np.full(luma + 2 * half, 128, np.uint8)
    y = block[:luma].reshape(height, width)
    y[:] = 16 + index * 3 % 200
    y[:, index * 2 % width : index * 2 % width + 4] = 235
    u, v = block[luma : luma + half].reshape(chroma), block[luma + half :].reshape(chroma)
    return Frame(
        (y, u, v),
        colour,
        index=index,
        pts=index if pts is None else pts,
        time_base=time_base,
        duration=duration,
        alpha=alpha,
    )


def output_of(picture: Frame) -> Output:
    """The picture as an output with an empty mask."""
    mask = np.zeros((1, 4, 4), np.uint8)
    return Output(picture, Regions(mask, ("person",), picture.pts, Size(*picture.size)), [], picture)


def decode(path: Path, decoder: str | None = None) -> list[av.VideoFrame]:
    """All frames of a file; `decoder` instead of FFmpeg's first choice."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if decoder is None:
            return list(container.decode(stream))
        context = av.CodecContext.create(decoder, "r")
        assert isinstance(context, av.VideoCodecContext)
        packets = (packet if packet.size else None for packet in container.demux(stream))
        return [frame for packet in packets for frame in context.decode(packet)]


def times(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    found = []
    for frame in decode(path):
        assert frame.pts is not None
        assert frame.time_base is not None
        found.append(frame.pts * frame.time_base)
    return found


def plane(frame: av.VideoFrame, index: int) -> NDArray[np.uint16]:
    """A plane's samples."""
    kind = np.dtype(np.uint8) if frame.format.components[0].bits == 8 else np.dtype("<u2")
    data = frame.planes[index]
    lines = np.frombuffer(data, kind).reshape(-1, data.line_size // kind.itemsize)  # type: ignore[call-overload]
    samples: NDArray[np.uint16] = lines[: data.height, : data.width].astype(np.uint16)
    return samples


class Piece(NamedTuple):
    """A packet: when, and what."""

    pts: Fraction
    dts: Fraction
    digest: str


def audio_pieces(path: Path) -> list[Piece]:
    """The packets of the first audio stream."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        return [
            Piece((p.pts or 0) * p.time_base, p.dts * p.time_base, hashlib.sha256(bytes(p)).hexdigest())
            for p in container.demux(container.streams.audio[0])
            if p.dts is not None
        ]
