"""The pages that drives and archives write of themselves; one that cannot be made costs nothing but itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtseg.driving.recorded import TABLE, read_drive
from rtseg.errors import RtsegError
from rtseg.reports import PAGE, write_index, write_report

TITLE = "Archive"
"""Of an archive's page: the same wherever the archive lies."""

_log = logging.getLogger("rtseg")


def write_page(folder: Path, name: str, summary: Mapping[str, Any]) -> str:
    """`report.html` of the tables in a drive's folder; why there is none, or nothing."""
    try:
        write_report(replace(read_drive(folder / TABLE, name=name), summary=summary))
    except Exception as error:  # a drive of an hour is worth more than its page
        return _told(f"no {PAGE}", error, folder)
    return ""


def write_archive_page(folder: Path, names: Sequence[str]) -> str:
    """`index.html` of an archive: of the drives in these folders, and of what `batch.json` says has failed."""
    try:
        write_index(folder, names, title=TITLE)
    except Exception as error:
        return _told("no page of the archive", error, folder)
    return ""


def _told(what: str, error: Exception, folder: Path) -> str:
    known = isinstance(error, RtsegError)
    why = str(error) if known else f"internal error: {type(error).__name__}: {error}"
    note = f"{what}: {' '.join(why.replace(str(folder.resolve()), '.').replace(str(folder), '.').split())}"
    _log.warning("%s", note)
    return note
