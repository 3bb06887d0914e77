"""Pictures as H.264 for those who watch while it is made: nothing held back, times of the clock on the wall."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

from av.codec.context import CodecContext
from av.error import FFmpegError
from av.video.frame import PictureType

from rtseg.errors import ConfigError
from rtseg.inference.gate import GATE
from rtseg.sinks.codecs import CODECS, Codec, CodecChoice, choose, parse_codec
from rtseg.sinks.encoders import check_encoder, threads_for, uploader_of
from rtseg.sinks.planes import H273, LIMITED, Converter, recoloured
from rtseg.types import Colour, Frame, Size

TICK = Fraction(1, 90_000)
"""Of all times here: MPEG-TS and RTP count so."""
_GROUP = 2.0
"""Seconds from one key frame to the next: what services ask for, and what a viewer waits at most."""
# What a second may take is limited, since links are; key frames at cuts would come on top of those by the clock.
_LIVE = {
    "preset": "superfast",
    "tune": "zerolatency",
    "crf": "23",
    "maxrate": "6M",
    "bufsize": "3M",
    "sc_threshold": "0",
}


class Encoded(NamedTuple):
    """One picture's packet, Annex B with parameter sets at key frames; pts and dts in `TICK`."""

    data: bytes
    pts: int
    dts: int
    key: bool


def live_codec(text: str) -> tuple[Codec, CodecChoice]:
    """What `text` names, such as "h264:crf=28,maxrate=2M"; ConfigError for what is not H.264 or not here."""
    choice = parse_codec(text)
    codec = choose(choice, "mp4")
    if not codec.name.startswith("h264"):
        able = ", ".join(name for name in CODECS if name.startswith("h264"))
        raise ConfigError(f"streams are H.264, and {codec.name} is not: use the codec {able}")
    check_encoder(codec)
    return codec, choice


class LiveEncoder:
    """Encodes frames of any size into one stream, whose size, made even, is that of `first`.

    Others are fitted into it with bars. Samples become limited range, which all receivers take. rate: frames a second,
    as far as known, for rate control alone. clock: seconds; a frame's time is when it is encoded, and times always
    grow. A key frame begins every two seconds, and with the first of pictures without colour, slates among them: codecs
    leave places that hardly differ as they were, and the room would shimmer through the card. Raises ConfigError for
    options that the encoder does not take.
    """

    def __init__(
        self,
        first: Frame,
        codec: Codec,
        choice: CodecChoice,
        *,
        rate: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        colour = Colour(first.colour.matrix)
        self._convert = Converter(first, codec.format, even=True, colour=colour)
        self._clock, self._start, self._last, self._key = clock, clock(), -1, -math.inf
        self._grey = False
        self._gate = contextlib.nullcontext if codec.takes is None else GATE.working
        self._context = self._open(codec, choice, colour, rate)

    @property
    def size(self) -> Size:
        """Of the pictures in the stream."""
        return self._convert.size

    def __call__(self, frame: Frame) -> list[Encoded]:
        """The packets of one more frame: one, but where the encoder was told to hold some back."""
        picture = self._convert(recoloured(frame, self._convert.colour))
        pts = max(self._last + 1, round((self._clock() - self._start) / TICK))
        before, self._grey = self._grey, frame.is_grey
        due = (pts - self._key) * TICK >= _GROUP or (self._grey and not before)
        picture.pts, picture.time_base = pts, TICK
        picture.pict_type = PictureType.I if due else PictureType.NONE
        if due:
            self._key = pts
        self._last = pts
        with self._gate():
            return self._packets(picture)

    def finish(self) -> list[Encoded]:
        """What was held back."""
        return self._packets(None)

    def _packets(self, picture: Any) -> list[Encoded]:
        return [
            Encoded(bytes(packet), packet.pts, packet.dts, packet.is_keyframe)
            for packet in self._context.encode(picture)
        ]

    def _open(self, codec: Codec, choice: CodecChoice, colour: Colour, rate: float) -> Any:
        options = {**codec.options, **(_LIVE if codec.encoder == "libx264" else {}), **choice.options}
        threads = threads_for(options.pop("threads", None), options, self.size)
        try:
            context: Any = CodecContext.create(codec.encoder, "w", hwaccel=uploader_of(codec))
            context.width, context.height = self.size
            context.pix_fmt = "nv12" if context.is_hwaccel else codec.format
            context.time_base, context.framerate = TICK, Fraction(rate).limit_denominator(1001)
            context.gop_size = math.ceil(2 * rate * _GROUP)  # a backstop: key frames go by the clock
            context.thread_count = threads
            context.colorspace, context.color_primaries, context.color_trc = H273[colour.matrix]
            context.color_range = LIMITED
            context.options = options
            context.open()
        except (ValueError, NotImplementedError, FFmpegError) as error:
            raise ConfigError(f"the encoder {codec.encoder} refuses its options {options}: {error}") from error
        if unknown := [key for key in choice.options if key in context.options]:
            raise ConfigError(
                f"the encoder {codec.encoder} has no option {unknown[0]!r}: "
                f"leave it out (ffmpeg -h encoder={codec.encoder} lists them)"
            )
        return context
