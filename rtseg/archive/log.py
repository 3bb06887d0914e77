"""The log of position that goes with a drive, and where in the drive it begins."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rtseg.archive.options import DriveOptions
from rtseg.driving.sidecars import Log, log_beside, read_log
from rtseg.errors import SourceError
from rtseg.sources.recording import Recording, recorded_at

_log = logging.getLogger("rtseg")
_FITS = 0.5
"""The share of the shorter of log and video that both must cover, if the video's clock is to be believed."""


@dataclass(frozen=True, slots=True)
class PlacedLog:
    """offset: seconds of the video's time at which the log begins, or for SRT, that are added."""

    path: Path
    offset: float


def log_of(source: str | os.PathLike[str], options: DriveOptions) -> tuple[PlacedLog | None, tuple[str, ...]]:
    """The log that was named, or one beside the file that has positions; why it is not used, and how it was placed.

    A log of the clock's times begins where the video's own time of recording says, where both cover much the same
    time; else with the video. Raises SourceError for a log that was named.
    """
    video = Path(source)
    match options.gps:
        case "none":
            return None, ()
        case "auto":
            path = log_beside(video) if video.is_file() else None
        case named:
            path = Path(named)
    if path is None:
        return None, ()
    try:
        log = read_log(path)
    except SourceError as error:
        if options.gps != "auto":
            raise
        note = f"the log beside the file is not used: {str(error).replace(str(path), path.name)}"
        _log.warning("%s", note)
        return None, (note,)
    if options.gps_offset is not None:
        return PlacedLog(path, options.gps_offset), ()
    recording = recorded_at(video) if video.is_file() else None
    offset = None if recording is None else offset_of(log, recording)
    if recording is None or offset is None:
        return PlacedLog(path, 0.0), ()
    clock = datetime.fromtimestamp(recording.began, UTC).isoformat()
    return PlacedLog(path, offset), (f"the log is placed by the video's time of recording, {clock}",)


def offset_of(log: Log, recording: Recording) -> float | None:
    """Seconds of the video at which a log of the clock's times begins; None where its times are the video's own or do
    not fit, as with cameras that write local time, or the time at which they stopped."""  # fmt: skip
    first, last = log.points[0], log.points[-1]
    if first.own or first.utc is None:
        return None
    offset = first.utc - recording.began
    length = last.time - first.time
    both = min(recording.seconds, offset + length) - max(0.0, offset)
    return offset if both > 0 and both >= _FITS * min(length, recording.seconds) else None
