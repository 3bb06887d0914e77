"""One file of an archive: how it is known again, and how it is worked on, wherever that happens."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from rtseg.archive.drive import drive, drive_config
from rtseg.archive.options import DriveOptions
from rtseg.build import build
from rtseg.config import Config
from rtseg.driving.sidecars import log_beside
from rtseg.errors import ConfigError, RtsegError
from rtseg.options import configure
from rtseg.places import sha256_of
from rtseg.sinks.files import make_folder, write_whole
from rtseg.stats import Stats
from rtseg.store import find_card

Outcome: TypeAlias = Literal["done", "partial", "failed"]

WORK = ".work"
"""The folder in the output's in which files are worked on until they are whole."""
MARK = "status.json"
"""What is in the folder of every file that is whole: its key and how it went."""
SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".3gp", ".wmv", ".flv"}
)
"""What is taken for a video in a folder."""
DIED = "the process that worked on it died"
_HEAD = 1 << 20


@dataclass(frozen=True, slots=True)
class RunChoice:
    """What `rtseg run` would be given: a configuration without source and sinks, and options beside it."""

    config: Config = field(default_factory=Config)
    options: Mapping[str, Any] = field(default_factory=dict)
    codec: str | None = None
    masks: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A file to do. name: its path in the archive, with slashes. folder: where it is worked on, its own alone."""

    name: str
    source: Path
    folder: Path
    key: str
    choice: DriveOptions | RunChoice

    def again(self) -> Self:
        """The same in another folder, for when somebody may still write into the first."""
        return replace(self, folder=self.folder.with_name(secrets.token_hex(8)))


@dataclass(frozen=True, slots=True)
class Result:
    """How it went. reason: of a failure or of what was lost. code: what the command would have ended with."""

    status: Outcome
    reason: str = ""
    frames: int = 0
    code: int = 0


def find_files(given: str, *, without: Path) -> tuple[Path, list[Path]]:
    """The archive's folder and its videos in order of their paths, those in `without` left out.

    given: a folder, with all below it, or a pattern such as `drives/**/*.mp4`. Raises ConfigError where there are none.
    """
    folder = Path(given)
    if folder.is_dir():
        found = [
            Path(place, name)
            for place, _, names in os.walk(folder)
            for name in names
            if Path(name).suffix.lower() in SUFFIXES
        ]
    elif glob.has_magic(given):
        parts = Path(given).parts
        fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
        folder = Path(*parts[:fixed]) if fixed else Path()
        found = [path for name in glob.glob(given, recursive=True) if (path := Path(name)).is_file()]  # noqa: PTH207
    else:
        raise ConfigError(f"{given} is no folder and no pattern: give one, or use `rtseg drive` for a single file")
    shut = without.resolve()
    kept = sorted(path for path in found if not path.resolve().is_relative_to(shut))
    if not kept:
        raise ConfigError(f"no video is in {given}: known are {', '.join(sorted(SUFFIXES))}")
    return folder, kept


def settings_hash(choice: DriveOptions | RunChoice) -> str:
    """Of the model's weights and of every option, with what is in the files that options name."""
    match choice:
        case DriveOptions():
            config, more = drive_config("archive.mp4", choice), dataclasses.asdict(choice)
            if choice.calibration is not None:
                more["calibration"] = _sha256(choice.calibration)
            if choice.detector is not None:
                more["detector"] = find_card(choice.detector).sha256
            more["analyzers"] = [analyzer.type for analyzer in config.analyzers]
        case RunChoice():
            config, more = run_config("archive.mp4", choice, Path("video")), {"masks": choice.masks}
    weights = find_card(config.model.name).sha256
    dumped = config.model_dump(mode="json", exclude={"source", "sinks", "analyzers"})
    return _hash([weights, dumped, more, getattr(choice, "codec", None)])


def key_of(name: str, path: Path, settings: str, choice: DriveOptions | RunChoice) -> str:
    """What a file is known by: its place in the archive, its and its log's size, time and first MiB, and the settings.

    Raises OSError where it cannot be read.
    """
    logs = [log_beside(path)] if isinstance(choice, DriveOptions) and choice.gps == "auto" else []
    return _hash([name, *(_looks(file) for file in (path, *logs) if file is not None), settings])


def run_config(source: str | os.PathLike[str], choice: RunChoice, folder: Path) -> Config:
    """A file's run."""
    return configure(
        source,
        folder / "video.mp4",
        config=choice.config,
        codec=choice.codec,
        masks=folder / "masks" if choice.masks else None,
        **choice.options,
    )


def shown(name: str) -> str:
    """A name as text: file systems have names that are none, which only paths keep."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def work(task: Task, progress: Callable[[int], None] | None = None) -> Result:
    """Do a file, into `task.folder`, which is whole with its mark where the result is "done" or "partial"."""

    def tell(stats: Stats) -> None:
        if progress is not None:
            progress(stats.frames_out)

    try:
        make_folder(task.folder)
        match task.choice:
            case DriveOptions():
                options = replace(task.choice, stream=shown(task.name))
                stats, _ = drive(task.source, task.folder, options, progress=tell)
            case RunChoice():
                job = build(run_config(task.source, task.choice, task.folder))
                stats = job.run(progress=tell)
        result = _result(stats)
        mark = {"file": task.name, "key": task.key, **dataclasses.asdict(result)}
        write_whole(task.folder / MARK, (json.dumps(mark, indent=2) + "\n").encode())
    except RtsegError as error:
        return Result("failed", _said(task, str(error)), code=error.exit_code)
    except Exception as error:  # a fault of ours in one file is no reason to leave the others
        return Result("failed", _said(task, f"internal error: {type(error).__name__}: {error}"), code=1)
    return result


def _result(stats: Stats) -> Result:
    if not stats.frames_out:
        return Result("failed", "it has no frame that can be shown", code=5)
    causes = {**stats.counts, "held": stats.held} if stats.held else dict(stats.counts)
    if stats.status != "partial" and not stats.held:
        return Result("done", frames=stats.frames_out)
    lost = ", ".join(f"{count} {cause.replace('_', ' ')}" for cause, count in sorted(causes.items()) if count)
    return Result("partial", lost, stats.frames_out, 7)


def _said(task: Task, text: str) -> str:
    """Without the paths of this machine."""
    for path, name in ((task.folder, "the output"), (task.source, task.name)):
        for form in (str(path.resolve()), str(path)):
            text = text.replace(form, name)
    return " ".join(shown(text).split())


def _looks(path: Path) -> list[object]:
    status = path.stat()
    with path.open("rb") as file:
        return [status.st_size, status.st_mtime_ns, hashlib.sha256(file.read(_HEAD)).hexdigest()]


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
