"""What is measured, and how long."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtseg.bench.clips import SIZES
from rtseg.errors import ConfigError, SourceNotFound

ENCODER = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23"}
"""Of every measured program: x264 at its fastest, so that the rest counts."""

_KEPT = 10**9
"""Bytes of composited pictures that are kept for the floor."""
_VIDEOS = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v"}


@dataclass(frozen=True, slots=True)
class Settings:
    """How a suite measures.

    sizes: name -> (width, height) that the input is scaled to. frames: of each clip, at most. rounds: in which each
    program runs once. inputs: videos whose masks with `--adaptive` are compared, as they are. starts: fresh processes.
    streams: whether more and more streams at once are tried, which takes minutes.
    """

    sizes: dict[str, tuple[int, int]]
    frames: int = 300
    rounds: int = 3
    inputs: tuple[Path, ...] = ()
    starts: int = 5
    streams: bool = True

    def frames_at(self, size: tuple[int, int]) -> int:
        """Fewer of large pictures, which are kept composited for the floor."""
        return max(1, min(self.frames, _KEPT // (size[0] * size[1] * 3 // 2)))


def make_settings(
    *,
    sizes: Sequence[str] = (),
    frames: int | None = None,
    rounds: int | None = None,
    inputs: Sequence[Path] = (),
    quick: bool = False,
) -> Settings:
    """Settings from a command line's words; quick: what is not said is chosen to take a minute. Raises RtsegError."""
    named = sizes or (("360p",) if quick else tuple(SIZES))
    return Settings(
        {name: size_of(name) for name in named},
        frames=frames or (60 if quick else 300),
        rounds=rounds or (1 if quick else 3),
        inputs=tuple(video for path in inputs for video in _videos(path)),
        starts=3 if quick else 5,
        streams=not quick,
    )


def size_of(name: str) -> tuple[int, int]:
    """Width and height of "720p" or "800x450"; ConfigError for what is neither, or odd."""
    if name in SIZES:
        return SIZES[name]
    sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", name)
    width, height = (int(side) for side in sides.groups()) if sides else (0, 0)
    if min(width, height) < 16 or width % 2 or height % 2:
        raise ConfigError(
            f"the size {name!r} must be one of {', '.join(SIZES)}, or WIDTHxHEIGHT of even numbers from 16 on"
        )
    return width, height


def _videos(path: Path) -> list[Path]:
    """The file itself, or the videos in a folder."""
    if not path.is_dir():
        if not path.is_file():
            raise SourceNotFound(f"{path} does not exist: give a video or a folder of videos to --input")
        return [path.resolve()]
    found = sorted(file.resolve() for file in path.iterdir() if file.suffix.lower() in _VIDEOS)
    if not found:
        raise SourceNotFound(f"{path} has no video ({', '.join(sorted(_VIDEOS))}): give a folder of videos to --input")
    return found
