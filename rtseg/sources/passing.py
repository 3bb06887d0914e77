"""What sources of single pictures share: one after another, and one that is broken does not stop the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

from rtseg.errors import SourceError, SourceUnreadable
from rtseg.types import Frame

T = TypeVar("T")


class Passing:
    """Frames of pictures in order, at `rate` a second; what cannot be read is passed over and explained in `failures`.

    failures: file -> reason; those of before, such as of files that could not even be listed, stay in it.
    """

    def __init__(self, rate: Fraction) -> None:
        self.rate = rate
        self.failures: dict[Path, str] = {}
        self.closed = False

    @property
    def counts(self) -> dict[str, int]:
        """Files that could not be read so far."""
        return {"broken_images": len(self.failures)}

    def frames(self, places: Sequence[T], path_of: Callable[[T], Path], read: Callable[[T], Frame]) -> Iterator[Frame]:
        """Each place read, with index, times, and an epoch that grows where the size changes.

        Where none can be read it raises, in the end, the one place's error, or SourceUnreadable for several.
        """
        epoch, size = 0, None
        error: SourceError | None = None
        for index, place in enumerate(places):
            if self.closed:
                return
            try:
                frame = read(place)
            except SourceError as caught:
                self.failures[path_of(place)] = str(caught)
                error = caught
                continue
            epoch += size not in (None, frame.size)
            size = frame.size
            yield frame.placed(
                index=index, pts=index, duration=1, time_base=1 / self.rate, epoch=epoch, arrived=time.monotonic()
            )
        if error is not None and size is None:
            if len(places) == 1:
                raise error
            raise SourceUnreadable(f"none of {len(places)} pictures can be read; the last: {error}") from error
