"""A whole archive: every file once, whatever dies in between.

A file is worked on in a folder of its own below `.work`, which gets its name by one rename when it is whole, its mark
inside; only this process renames. So what is under a file's name is whole, and known again without the journal.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtseg.archive.analysis import check_installed
from rtseg.archive.journal import NAME, SCHEMA, Journal
from rtseg.archive.options import DriveOptions
from rtseg.archive.pages import write_archive_page
from rtseg.archive.tasks import (
    MARK,
    WORK,
    Outcome,
    Result,
    RunChoice,
    Task,
    find_files,
    key_of,
    settings_hash,
    shown,
)
from rtseg.archive.workers import Finished, LocalWorkers, Workers
from rtseg.errors import EXIT_PARTIAL, ConfigError
from rtseg.sinks.files import failure, make_folder, sync_folder, write_whole

_LOOK = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an archive is. running: frames done of each file that is being worked on."""

    total: int
    counts: dict[Outcome, int]
    skipped: int
    running: dict[str, int]

    @property
    def finished(self) -> int:
        """Files that nothing more is done with."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of an archive: each file, in order, and how many were whole before (`skipped`)."""

    files: dict[str, Result]
    skipped: int
    stopped: bool = False

    @property
    def counts(self) -> dict[Outcome, int]:
        """Files by how they went."""
        counted = Counter(result.status for result in self.files.values())
        return {status: counted[status] for status in ("done", "partial", "failed")}

    @property
    def code(self) -> int:
        """0 for all done; 7 where something is missing; where no file could be done, the first one's code."""
        failed = [result.code for result in self.files.values() if result.status == "failed"]
        if failed and len(failed) == len(self.files):
            return failed[0]
        return 0 if all(result.status == "done" for result in self.files.values()) else EXIT_PARTIAL


def batch(
    given: str,
    folder: str | os.PathLike[str],
    choice: DriveOptions | RunChoice | None = None,
    *,
    jobs: int | None = None,
    resume: bool = False,
    cluster: str | None = None,
    workers: Workers | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Batch:
    """Do every video of a folder or a pattern, each into `folder/<its path in the archive>/`; of drives also
    `folder/index.html`.

    jobs: files at once; None for one for each two cores here, or one a core of a cluster. resume: go on in a folder
    with a journal; files that are whole stay, those that failed are tried again. cluster: a Ray cluster's address.
    workers: in place of those. stop: set it to end at once; what is being worked on is left out.

    Raises ConfigError, DependencyMissing, ModelError and SinkError before any file; a file's own failure is in
    `Batch.files`.
    """
    chosen = DriveOptions() if choice is None else choice
    if isinstance(chosen, RunChoice) and chosen.config.sinks:
        raise ConfigError("a batch makes the outputs of each file itself: take [[sinks]] out of the configuration")
    if isinstance(chosen, DriveOptions):
        check_installed(chosen)
    root, paths = find_files(given, without=Path(folder))
    settings = settings_hash(chosen)
    place = make_folder(folder)
    if (place / NAME).exists() and not resume:
        raise ConfigError(f"{place} has a batch already: give --resume to go on with it, or another folder")
    with Journal(place) as journal, contextlib.ExitStack() as opened:
        shutil.rmtree(place / WORK, ignore_errors=True)
        made = workers if workers is not None else _workers(jobs, cluster)
        opened.callback(shutil.rmtree, place / WORK, ignore_errors=True)
        opened.callback(made.close)
        results: dict[str, Result] = {}
        skipped: set[str] = set()

        def tell() -> None:
            if progress is not None:
                counts = Batch(results, len(skipped)).counts
                progress(Progress(len(paths), counts, len(skipped), made.frames()))

        tasks = _tasks(root, paths, place, settings, chosen, journal, results, skipped)
        stopped = not _run(tasks, made, place, journal, results, stop or threading.Event(), tell)
    ordered = {name: results[name] for name in map(_namer(root), paths) if name in results}
    whole = Batch(ordered, len(skipped), stopped)
    _write_summary(place, whole)
    if isinstance(chosen, DriveOptions) and chosen.report and not stopped:
        write_archive_page(place, [name for name, result in ordered.items() if result.status != "failed"])
    return whole


def _tasks(
    root: Path,
    paths: Iterable[Path],
    place: Path,
    settings: str,
    choice: DriveOptions | RunChoice,
    journal: Journal,
    results: dict[str, Result],
    skipped: set[str],
) -> Iterator[Task | None]:
    """What is to be done, file by file, since a key takes reading; None for a file that is whole or cannot be read."""
    name_of = _namer(root)
    for path in paths:
        name = name_of(path)
        try:
            key = key_of(name, path, settings, choice)
        except OSError as error:
            results[name] = Result("failed", f"it cannot be read: {error.strerror}", code=5)
            journal.add("", name, "failed", reason=results[name].reason)
            yield None
            continue
        if (known := _marked(place / name, key)) is None:
            yield Task(name, path.absolute(), place.absolute() / WORK / secrets.token_hex(8), key, choice)
            continue
        results[name] = known
        skipped.add(name)
        if journal.last.get(key, {}).get("status") not in ("done", "partial"):
            _note(journal, key, name, known)  # it died between the rename and the line
        yield None


def _run(
    tasks: Iterator[Task | None],
    workers: Workers,
    place: Path,
    journal: Journal,
    results: dict[str, Result],
    stop: threading.Event,
    tell: Callable[[], None],
) -> bool:
    """Until all is done; false where it was stopped."""
    running, more = 0, True
    while more or running:
        if stop.is_set():
            return False
        while more and workers.room > 0 and not stop.is_set():
            try:
                task = next(tasks)
            except StopIteration:
                more = False
                break
            if task is not None:
                journal.add(task.key, task.name, "begun")
                workers.begin(task)
                running += 1
            tell()
        for finished in workers.wait(_LOOK) if running else ():
            running -= 1
            results[finished.task.name] = finished.result
            _publish(finished, place, journal)
        tell()
    return True


def _publish(finished: Finished, place: Path, journal: Journal) -> None:
    task, result = finished.task, finished.result
    if result.status == "failed":
        shutil.rmtree(task.folder, ignore_errors=True)
    else:
        target = place / task.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():  # of an earlier batch, with other options or of another file
                old = task.folder.with_name(f"{task.folder.name}.old")
                target.replace(old)
            sync_folder(task.folder)
            task.folder.replace(target)
            sync_folder(target.parent)
        except OSError as error:
            raise failure(error, target) from error
    _note(journal, task.key, task.name, result)


def _note(journal: Journal, key: str, name: str, result: Result) -> None:
    journal.add(key, name, result.status, reason=result.reason, frames=result.frames)


def _marked(folder: Path, key: str) -> Result | None:
    """How it went, where that folder is whole and of that key."""
    try:
        mark: dict[str, Any] = json.loads((folder / MARK).read_bytes())
        if mark["key"] != key:
            return None
        return Result(mark["status"], mark["reason"], mark["frames"], mark["code"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_summary(place: Path, whole: Batch) -> None:
    files = [
        {"file": shown(name), "status": result.status, "reason": result.reason, "frames": result.frames}
        for name, result in whole.files.items()
    ]
    frames = sum(result.frames for result in whole.files.values())
    summary: dict[str, Any] = {"schema": SCHEMA, "counts": whole.counts, "frames": frames, "files": files}
    write_whole(place / "batch.json", (json.dumps(summary, indent=2) + "\n").encode())


def _workers(jobs: int | None, cluster: str | None) -> Workers:
    if cluster is None:
        return LocalWorkers(jobs or max(1, (os.cpu_count() or 1) // 2))
    try:
        from rtseg.archive.cluster import ClusterWorkers
    except ImportError as error:
        raise ConfigError(f"--cluster needs Ray ({error}): pip install 'rtseg[ray]'") from error
    return ClusterWorkers(cluster, jobs)


def _namer(root: Path) -> Callable[[Path], str]:
    return lambda path: path.relative_to(root).as_posix()
