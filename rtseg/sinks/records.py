"""Writes what was found as JSON lines, a record a frame."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from typing import Any, Self, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import SinkError
from rtseg.sinks.files import PartFile
from rtseg.types import Instances, Output, Size


class Records:
    """One JSON object a line for each output, as `record` makes it, flushed line by line; "-" is standard output.

    A file is `<path>.part` until it is closed; without a record there is none. Raises SinkError or DiskFull
    where it cannot be written, also when the reader of standard output has gone.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = None if os.fspath(path) == "-" else PartFile(path)
        self._stream: TextIO | None = None
        self._closed = False

    def write(self, output: Output, /) -> None:
        """Write one line."""
        if self._closed:
            raise SinkError(f"{self._name} is closed: nothing more can be written to it")
        line = json.dumps(record(output), allow_nan=False, separators=(",", ":"))
        try:
            if self._stream is None:
                self._stream = sys.stdout if self._file is None else self._file.part.open("w", encoding="utf-8")
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError as error:
            raise self._fail(error) from error

    def close(self) -> None:
        """Give the file its name."""
        if self._closed:
            return
        self._closed = True
        if self._file is not None and self._stream is not None:
            try:
                self._stream.close()
            except OSError as error:
                raise self._fail(error) from error
            self._file.publish()

    @property
    def _name(self) -> str:
        return "standard output" if self._file is None else str(self._file.path)

    def _fail(self, error: OSError) -> SinkError:
        self._closed = True
        if self._file is None:
            if isinstance(error, BrokenPipeError):
                # What Python still holds for standard output would fail again, with a traceback, at exit.
                with contextlib.suppress(OSError, ValueError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return SinkError(f"cannot write to standard output: {os.strerror(error.errno or 0)}")
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
        return self._file.failure(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def record(output: Output) -> dict[str, Any]:
    """What is known of a frame as plain values that JSON has: no NaN, no infinity (null instead).

    index, pts, time_base ("1/30"), time (seconds), size ([width, height]), held, segments, observations and times
    (milliseconds by stage). A segment has label, coverage (the share of the frame where it is at least as likely as
    not, 0..1), box ([x0, y0, x1, y1] in pixels of the frame around that part, x1 and y1 exclusive; null where there
    is none), score (null where the model gives none) and, where instances are tracked, track. Framed pictures have
    window ([x0, y0, x1, y1] in pixels of the frame); boxes and masks are the whole frame's.
    """
    frame, segmentation = output.frame, output.segmentation
    segments: list[dict[str, Any]] = []
    for segment in segmentation.segments():
        inside = segment["mask"] >= 128
        segments.append(
            {
                "label": segment["label"],
                "coverage": round(float(np.count_nonzero(inside)) / inside.size, 5),
                "box": _box(inside, frame.size),
                "score": None if segment["score"] is None else _number(segment["score"]),
            }
        )
    if isinstance(segmentation, Instances):
        for i, found in enumerate(segments):
            found["box"] = [_number(float(side)) for side in segmentation.boxes[i]]
            if segmentation.track_ids is not None:
                found["track"] = int(segmentation.track_ids[i])
    return {
        "index": frame.index,
        "pts": frame.pts,
        "time_base": f"{frame.time_base.numerator}/{frame.time_base.denominator}",
        "time": round(frame.time, 6),
        "size": list(frame.size),
        "held": output.held,
        **({} if output.window is None else {"window": [round(side, 2) for side in output.window]}),
        "segments": segments,
        "observations": [
            {"kind": seen.kind, "pts": seen.pts, "values": {key: _plain(value) for key, value in seen.values.items()}}
            for seen in output.observations
        ],
        "times": {stage: _number(milliseconds) for stage, milliseconds in output.times.items()},
    }


def _box(inside: NDArray[np.bool_], size: Size) -> list[int] | None:
    """The smallest box around a mask, in pixels of a frame of `size`."""
    x, y, width, height = cv2.boundingRect(inside.view(np.uint8))
    if width == 0:
        return None
    rows, columns = inside.shape
    return [
        x * size.width // columns,
        y * size.height // rows,
        -(-(x + width) * size.width // columns),
        -(-(y + height) * size.height // rows),
    ]


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _plain(value: float | int | str | bool | None) -> float | int | str | bool | None:
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None  # an area in mm2 may be small
