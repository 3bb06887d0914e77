"""When a video was recorded, as its container says."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rtseg.errors import SourceError
from rtseg.sources.opening import open_media

_PIXELS = 8192 * 8192
_OLDEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
"""Before it are clocks that were never set: 1904, 1970, 1980."""


class Recording(NamedTuple):
    """began: seconds since 1970, to a second. seconds: how long it is."""

    began: float
    seconds: float


def recorded_at(path: Path) -> Recording | None:
    """The container's `creation_time` and duration; None where they are not there or the file cannot be read."""
    try:
        with contextlib.closing(open_media(path, max_pixels=_PIXELS)) as container:
            said, length = container.metadata.get("creation_time"), container.duration
    except SourceError:
        return None
    try:
        time = datetime.fromisoformat(said or "")
    except ValueError:
        return None
    began = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return None if began < _OLDEST or not length else Recording(began, length / 1e6)
