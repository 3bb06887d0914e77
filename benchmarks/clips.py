"""The clip that everything is measured on, from a path: see `rtseg.bench.clips`."""

from __future__ import annotations

from pathlib import Path

from rtseg.bench import clips
from rtseg.bench.clips import RATE, SIZES, picture, repeated
from rtseg.config import VideoSource

__all__ = ["RATE", "SIZES", "clip", "picture", "repeated"]


def clip(folder: Path, size: tuple[int, int], frames: int, source: Path | None) -> Path:
    """`frames` frames of a video, or of the built-in sample, at `size` (width, height); kept in `folder`."""
    return clips.clip(folder, size, frames, None if source is None else VideoSource(path=source.resolve()))
