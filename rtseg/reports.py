"""Reports of folders with drives: which there are, their pages, and one for all of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np

from rtseg.driving.recorded import TABLE, Drive, Thumbnail, read_drive, read_summary, records_in
from rtseg.driving.report import VIDEOS, archive_page, drive_page
from rtseg.errors import RtsegError, SinkError, SourceError, SourceNotFound
from rtseg.sinks.files import PartFile
from rtseg.thumbnails import thumbnails_of

PAGE, INDEX = "report.html", "index.html"
PICTURES = 24
"""Thumbnails on a drive's timeline."""
_POINTS = 3000
"""Of the way of a drive, on the page of an archive."""

_log = logging.getLogger("rtseg")


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the page to open first, those of drives, and why some have none."""

    first: Path
    pages: tuple[Path, ...]
    failed: dict[str, str]


def write_reports(folder: Path, *, pictures: int = PICTURES) -> Written:
    """A page beside the records of each drive in a folder, its own or its folders', and one for all where it is an
    archive.

    pictures: thumbnails a drive, 0 for none. A drive that cannot be read is told on the page of the archive. Raises
    SourceNotFound where there is no drive, what `read_drive` raises where there is one and it cannot be read, and
    SinkError.
    """  # fmt: skip
    if not folder.is_dir():
        raise SourceNotFound(f"{folder} is no folder: give the one that records were written to")
    own = records_in(folder)
    if own is not None:
        page = write_report(read_drive(own, name=folder.resolve().name), pictures=pictures)
        return Written(page, (page,), {})
    found = [(place, records) for place in _folders(folder) if (records := records_in(place)) is not None]
    if not found:
        raise SourceNotFound(
            f"{folder} has no drive in it: no records.jsonl there or in its folders; write one with --records"
        )
    drives: list[tuple[Drive, str]] = []
    pages, failed = [], {}
    for place, records in found:
        name = place.relative_to(folder).as_posix()
        try:
            drive = read_drive(records, name=_shown(name))
            pages.append(write_report(drive, pictures=pictures))
        except SinkError:
            raise
        except RtsegError as error:
            failed[_shown(name)] = str(error)
            continue
        drives.append((_short(drive), _address(name)))
    index = folder / INDEX
    _write(index, archive_page(drives, name=_shown(folder.resolve().name), failed={**_failed(folder), **failed}))
    return Written(index, tuple(pages), failed)


def write_index(folder: Path, names: Sequence[str], *, title: str) -> Path:
    """The page of an archive whose drives have theirs already: of those in the folders `names`, in that order.

    A drive that cannot be read is told there. Raises SinkError.
    """
    drives: list[tuple[Drive, str]] = []
    failed = {}
    for name in names:
        try:
            records = records_in(folder / name) or folder / name / TABLE
            drives.append((_short(read_drive(records, name=_shown(name))), _address(name)))
        except RtsegError as error:
            failed[_shown(name)] = str(error).replace(str(folder), ".")
    index = folder / INDEX
    _write(index, archive_page(drives, name=title, failed={**_failed(folder), **failed}))
    return index


def write_report(drive: Drive, *, pictures: int = PICTURES) -> Path:
    """The page of a drive, beside its records; with pictures of the video that lies there, if one does."""
    video = _video_in(drive.folder)
    page = drive.folder / PAGE
    _write(page, drive_page(drive, thumbnails=_pictures(drive, video, pictures), video=video))
    return page


def _short(drive: Drive) -> Drive:
    """What the page of an archive needs of a drive, since it may have thousands."""
    step = max(1, len(drive.track) // _POINTS)
    track = np.vstack([drive.track[::step], drive.track[-1:]]) if step > 1 else drive.track
    return replace(drive, times=drive.times[[0, -1]], curves={}, track=track)


def _address(name: str) -> str:
    return f"./{quote(os.fsencode(name))}/{PAGE}"


def _shown(name: str) -> str:
    """A name as text, which those of file systems need not be."""
    return os.fsencode(name).decode("utf-8", "replace")


def _pictures(drive: Drive, video: Path | None, count: int) -> Sequence[Thumbnail]:
    if video is None or count < 1:
        return ()
    zero, length = float(drive.times[0]), drive.seconds
    try:
        return thumbnails_of(video, (zero + length * (np.arange(count) + 0.5) / count).tolist(), zero=zero)
    except SourceError as error:
        _log.warning("no pictures in the report: %s", error)
        return ()


def _video_in(folder: Path) -> Path | None:
    """The only video of a folder, or the one that is called drive, overlay or annotated."""
    found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in VIDEOS and path.is_file()]
    named = [path for path in found if path.stem in ("drive", "overlay", "annotated")]
    return found[0] if len(found) == 1 else next(iter(named), None)


def _failed(folder: Path) -> dict[str, str]:
    """What a batch could not do, and why, where its batch.json says so."""
    files = read_summary(folder, "batch.json").get("files")
    rows = [each for each in files if isinstance(each, dict)] if isinstance(files, list) else []
    return {str(row.get("file")): str(row.get("reason")) for row in rows if row.get("status") == "failed"}


def _folders(folder: Path) -> list[Path]:
    """All folders below, in order; not those that links lead to, nor hidden ones, where a batch works."""
    found: list[Path] = []
    for place, names, _ in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [Path(place) / name for name in names]
    return sorted(path for path in found if not path.is_symlink())


def _write(path: Path, text: str) -> None:
    file = PartFile(path)
    try:
        file.part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise file.failure(error) from error
    file.publish()
