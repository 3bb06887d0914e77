"""From a video or a folder of pictures to a folder of labelled pictures: choose, write, pre-label."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from rtseg.build import build_source
from rtseg.config import ImageSource, SourceOptions
from rtseg.datasets import DataSet
from rtseg.errors import ConfigError, SourceError
from rtseg.labels.folder import copy_picture, file_stem, open_folder, pictures, write_frame
from rtseg.labels.frames import choose, survey
from rtseg.labels.prelabel import WantedKind, plan, prelabel
from rtseg.options import configure
from rtseg.types import Frame, Source

USUAL_COUNT = 40


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a folder holds now. chosen: pictures that the input gave, `added` of them new; wanted: how many were asked
    for, None for all. made, kept: masks. failures: picture -> why it was left out.
    """  # fmt: skip

    data: DataSet
    model: str
    wanted: int | None
    chosen: int
    added: int
    made: int
    kept: int
    failures: Mapping[Path, str] = field(default_factory=dict)


def label(
    input: str | PathLike[str],  # noqa: A002 - the word that users know
    folder: Path,
    *,
    model: str | None = None,
    count: int | None = None,
    regions: Sequence[str] | None = None,
    kind: WantedKind = "auto",
    start: float | None = None,
    end: float | None = None,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
) -> Labelled:
    """Fill `folder` with images/, masks/ and data.toml; what is there of an earlier run is kept.

    count: of a video's frames, 40 where it is None; of a folder's pictures all then. start, end: seconds of a video.
    Raises RtsegError of the kind that fits, before anything is written where that can be known.
    """
    config = configure(input, model=model, start=start, end=end, providers=providers, threads=threads)
    if config.source is None:
        raise ConfigError("nothing to label: give a video or a folder of pictures")
    wanted = plan(config.model.name, regions=regions, kind=kind)
    values = {name: (value,) for name, value in wanted.regions.items()}
    with contextlib.closing(build_source(config.source)):  # what is wrong with the input is known now
        data = open_folder(folder, wanted.kind, values, origin=f"those of model {wanted.card.name}")
    failures: dict[Path, str] = {}
    if isinstance(config.source, ImageSource):
        chosen, added = _take_pictures(config.source, folder, count, failures)
    else:
        count = count or USUAL_COUNT
        chosen, added = _take_frames(config.source, folder, count)
    made = prelabel(data, wanted, config)
    failures |= made.failures
    return Labelled(data, wanted.card.name, count, chosen, added, made.made, made.kept, failures)


def _take_frames(options: SourceOptions, folder: Path, count: int) -> tuple[int, int]:
    """Choose frames in one pass and write them in another: how many were chosen, and how many are new.

    Two passes, because the frames of a long video do not fit into memory and decoding costs less than encoding.
    """
    with _opened(options) as source:
        wanted = set(choose(survey(source), count))
        name = file_stem(Path(source.info.name).stem)
    there = pictures(folder)
    added = 0
    with _opened(options) as source:
        for frame in _of(source, wanted):
            stem = f"{name}_{milliseconds(frame):06d}"
            if stem not in there:
                write_frame(frame, folder, stem)
                added += 1
    return len(wanted), added


def milliseconds(frame: Frame) -> int:
    """When a frame is shown: it keeps this number whatever part of its video is looked at."""
    return round(1000 * frame.pts * frame.time_base)


def _of(source: Source, wanted: set[int]) -> Iterator[Frame]:
    last = max(wanted, default=-1)
    for frame in source:
        if frame.index in wanted:
            yield frame
        if frame.index >= last:
            return


def _take_pictures(options: ImageSource, folder: Path, count: int | None, failures: dict[Path, str]) -> tuple[int, int]:
    with _opened(options) as source:
        paths: list[Path] = list(source.paths)
        if count is not None and count < len(paths):
            paths = [paths[index] for index in choose(survey(source), count, blurred=None)]
            failures |= source.failures
    stems: dict[str, Path] = {}
    for path in paths:
        if (stem := file_stem(path.stem)) in stems:
            raise ConfigError(f"{stems[stem]} and {path} would both be called {stem!r}: give them different names")
        stems[stem] = path
    there = pictures(folder)
    added = 0
    for stem, path in stems.items():
        if stem in there:
            continue
        try:
            copy_picture(path, folder, stem)
            added += 1
        except SourceError as error:
            if len(paths) == 1:
                raise
            failures[path] = str(error)
    return len(paths), added


@contextlib.contextmanager
def _opened(options: SourceOptions) -> Iterator[Any]:
    with contextlib.closing(build_source(options)) as source:
        yield source
