"""Test patterns drawn by FFmpeg's filters: moving pictures without a file."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from fractions import Fraction

import av

from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.sources.planes import PlaneReader
from rtseg.types import Frame, Size, StreamInfo

# Sources and filters that open no files, whatever their options; FFmpeg has others that read and write them.
_FILTERS = frozenset(
    re.findall(
        r"\w+",
        "allrgb allyuv alphaextract alphamerge anullsrc blend chromakey color colorchannelmixer colorchart "
        "colorkey colorspectrum concat crop drawbox drawgrid extractplanes fade format fps framestep gblur geq "
        "gradients hflip hstack hue interlace loop lut lutrgb lutyuv mandelbrot negate noise null nullsrc overlay "
        "pad pal100bars pal75bars realtime rgbtestsrc rotate scale scroll select setdar setfield setparams setpts "
        "setrange setsar settb sierpinski sine smptebars smptehdbars split swapuv testsrc testsrc2 tinterlace tpad "
        "transpose trim unsharp vflip vignette vstack xfade xstack yuvtestsrc zoneplate zoompan",
    )
)
# As libavfilter/graphparser.c reads: labels in brackets, and between commas and semicolons a filter with its options,
# in all of which quotes and backslashes hide what they mark.
_PARTS = re.compile(r"\[(?:\\.|'[^']*'|[^\\'\]])*\]|((?:\\.|'[^']*'|[^\\',;\[])+)", re.DOTALL)


class Synthetic:
    """Frames of an FFmpeg filter graph such as "testsrc2=size=1280x720:rate=30" or "color=red,format=yuv422p".

    frames: how many, None for as many as the graph gives, which is often no end. live: pretend to be a camera, whose
    unread frames are worthless; frames then still come as fast as they are drawn. Raises ConfigError for a graph
    that FFmpeg does not take, that has no picture, or whose filters may open files.
    """

    counts: Mapping[str, int] = {}

    def __init__(self, graph: str, *, frames: int | None = None, live: bool = False) -> None:
        if frames is not None and frames < 1:
            raise ConfigError(f"frames must be at least 1, or None for no limit, not {frames}")
        if strange := sorted(_filters_of(graph) - _FILTERS):
            raise ConfigError(
                f"the graph {graph!r} may not use {', '.join(strange)}, only filters that open no files: "
                "try testsrc2=size=640x360:rate=30"
            )
        self.live = live
        self._graph, self._count = graph, frames
        self._closed = False
        self._lock = threading.Lock()
        try:
            self._container = av.open(graph, format="lavfi")
            self._stream = self._container.streams.video[0]
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise ConfigError(f"FFmpeg cannot draw {graph!r} ({error}): try testsrc2=size=640x360:rate=30") from error
        except IndexError:
            self._container.close()
            raise ConfigError(f"the graph {graph!r} gives no picture: try testsrc2=size=640x360:rate=30") from None
        rate = self._stream.average_rate or self._stream.base_rate or Fraction(25)
        self._time_base = self._stream.time_base or 1 / Fraction(rate)
        context = self._stream.codec_context
        self._info = StreamInfo(
            name=f"synthetic:{graph}",
            size=Size(context.width, context.height),
            rate=Fraction(rate),
            frames=frames,
            seconds=None if frames is None else float(frames / rate),
            time_base=self._time_base,
        )

    @property
    def info(self) -> StreamInfo:
        """Everything is known beforehand, but not where an unlimited graph ends."""
        return self._info

    def __iter__(self) -> Iterator[Frame]:
        planes_of = PlaneReader()
        decoded_frames = self._container.decode(self._stream) if not self._closed else iter(())
        index = 0
        try:
            while index != self._count:
                with self._lock:  # a container must not be closed while it is read
                    decoded = None if self._closed else next(decoded_frames, None)
                if decoded is None or self._closed:
                    return
                planes, colour, alpha = planes_of(decoded)
                pts = index if decoded.pts is None else decoded.pts
                lasts = decoded.duration or 0
                yield Frame(
                    planes, colour, index=index, pts=pts, time_base=self._time_base, duration=lasts, alpha=alpha
                )
                index += 1
        except av.error.FFmpegError as error:
            raise SourceUnreadable(f"FFmpeg cannot go on drawing {self._graph!r}: {error}") from error
        finally:
            self.close()

    def close(self) -> None:
        """End the iteration at the next frame, from any thread."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            self._container.close()
            self._lock.release()


def _filters_of(graph: str) -> set[str]:
    """The names of a graph's filters as FFmpeg will read them, with quotes, backslashes and instances taken away."""
    parts = [part for part in _PARTS.findall(graph) if part.strip()]
    return {re.sub(r"[\\'\s]", "", part.split("=")[0]).partition("@")[0] for part in parts}
