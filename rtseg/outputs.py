"""What a run reads and writes by name: outputs that would overwrite each other or an input are refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rtseg.config import (
    Config,
    DicomSource,
    ImageSink,
    ImageSource,
    MaskSink,
    NiftiSource,
    RecordSink,
    SinkOptions,
    VideoSink,
    VideoSource,
)
from rtseg.errors import ConfigError
from rtseg.types import Source


def input_files(config: Config, source: Source) -> list[Path]:
    """Every file that the run reads frames from; an image source has them in order of `Frame.index`."""
    match config.source:
        case VideoSource() | DicomSource() | NiftiSource():
            return [config.source.path]
        case ImageSource():
            return list(source.paths)  # type: ignore[attr-defined]
        case _:
            return []


def output_stems(files: Sequence[Path]) -> list[str]:
    """The names that outputs get; ConfigError for two files that would become one."""
    seen: dict[str, Path] = {}
    for file in files:
        if file.stem in seen:
            raise ConfigError(
                f"{seen[file.stem]} and {file} would both be written as {file.stem!r}: "
                "give them different names, or different output folders in two runs"
            )
        seen[file.stem] = file
    return list(seen)


def check_outputs(config: Config) -> None:
    """Refuse two outputs of one name, which would overwrite each other."""
    seen: set[Path] = set()
    for sink in config.sinks:
        place = getattr(sink, "path", None) or getattr(sink, "folder", None)
        if not isinstance(place, Path):
            continue
        if (real := place.resolve()) in seen and not _is_device(real):
            raise ConfigError(f"two outputs go to {place}: give each of them a name of its own")
        seen.add(real)


def check_replaced(options: SinkOptions, files: Sequence[Path], names: Sequence[str] | None) -> None:
    """Refuse an output that would replace one of the inputs."""
    match options:
        case VideoSink() | RecordSink():
            lost = [file for file in files if file.resolve() == options.path.resolve()]
        case ImageSink() | MaskSink():
            suffix = ".png" if isinstance(options, MaskSink) else f".{options.format or 'png'}"
            stems = set(options.names or names or ())
            folder = options.folder.resolve()
            lost = [
                file
                for file in files
                if file.suffix.lower() == suffix
                and file.resolve().parent == folder
                # masks of several regions are <stem>.<region>.png
                and (file.stem in stems or file.stem.rpartition(".")[0] in stems or re.match(r"\d{6}\b", file.stem))
            ]
        case _:
            return
    if lost:
        raise ConfigError(f"the output would replace the input {lost[0]}: give another name or folder")


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()
