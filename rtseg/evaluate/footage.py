"""Videos with the true alpha of every frame, to measure mattes and how they change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rtseg.datasets import IMAGE_SUFFIXES
from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.ops.arrays import U8
from rtseg.sources.images import ImageFiles
from rtseg.sources.video import VideoFile
from rtseg.types import Frame, Source

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v")


class FootageSet(BaseModel):
    """Videos and their alphas.

    videos, alphas: two clips, or two folders whose clips of one stem belong together; a clip is a video, or a folder of
    pictures, a frame each. An alpha is grey, or has an alpha channel. region: what the alpha is of. frames: how many
    are read of each, from the first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    videos: Path
    alphas: Path
    region: str
    name: str = ""
    frames: Annotated[int, Field(ge=1)] = 1000

    @property
    def title(self) -> str:
        """The set's name in tables: as given, or its videos' folder's."""
        return self.name or (self.videos.parent.name if self.videos.name == "videos" else self.videos.stem)

    @cached_property
    def clips(self) -> dict[str, tuple[Path, Path]]:
        """Stem -> video and alpha. Raises ConfigError where one is missing."""
        if self.videos.is_file() or _is_clip(self.videos):
            return {self.videos.stem: (self.videos, self.alphas)}
        found = {path.stem: path for path in sorted(self.videos.glob("*")) if _is_clip(path)}
        alphas = {path.stem: path for path in sorted(self.alphas.glob("*")) if _is_clip(path)}
        if not found:
            raise ConfigError(
                f"{self.videos} has no video: they end with {', '.join(VIDEO_SUFFIXES)}, or are folders of pictures"
            )
        if lonely := sorted(set(found) ^ set(alphas)):
            where = self.alphas if lonely[0] in found else self.videos
            raise ConfigError(f"{where} has no {lonely[0]!r}: every video has its alpha under the same name")
        return {stem: (path, alphas[stem]) for stem, path in found.items()}

    def read(self, stem: str) -> Iterator[tuple[Frame, U8]]:
        """Frames and their alphas, uint8 HxW of the frame's size. Raises SourceUnreadable where they do not fit."""
        video, alpha = self.clips[stem]
        with contextlib.closing(_source(video)) as pictures, contextlib.closing(_source(alpha)) as truths:
            given = iter(truths)
            for index, frame in enumerate(pictures):
                if index >= self.frames:
                    return
                if (truth := next(given, None)) is None:
                    raise SourceUnreadable(
                        f"{alpha} ends after {index} frames, before {video}: give both in one length"
                    )
                if truth.size != frame.size:
                    raise SourceUnreadable(
                        f"{alpha} is {truth.size.width}x{truth.size.height}, {video} {frame.size.width}x"
                        f"{frame.size.height}: an alpha must have the size of its video"
                    )
                yield frame, truth.rgb[..., 1] if truth.alpha is None else truth.alpha
            if next(given, None) is not None:
                raise SourceUnreadable(f"{video} ends before {alpha}: give both in one length")


def is_footage(folder: Path) -> bool:
    """Whether `--data` means a folder with `videos/` and `alphas/`."""
    return (folder / "videos").is_dir() and (folder / "alphas").is_dir()


def _is_clip(path: Path) -> bool:
    if path.is_dir():
        return any(each.suffix.lower() in IMAGE_SUFFIXES for each in path.iterdir())
    return path.suffix.lower() in VIDEO_SUFFIXES


def _source(path: Path) -> Source:
    return ImageFiles([path]) if path.is_dir() else VideoFile(path)
