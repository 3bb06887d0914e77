"""A sink that keeps nothing: for measuring, and for runs that only want counts."""

from __future__ import annotations

from typing import Self

from rtseg.types import Output


class Null:
    """Counts frames and drops them."""

    def __init__(self) -> None:
        self.frames = 0

    def write(self, _output: Output, /) -> None:
        """Count one frame."""
        self.frames += 1

    def close(self) -> None:
        """Nothing to do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
