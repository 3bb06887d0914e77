"""The journal of a batch: a JSON line for each change, on the disk before anything is done that relies on it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from rtseg.errors import ConfigError, SinkError
from rtseg.sinks.files import failure, sync_folder

Status: TypeAlias = Literal["begun", "done", "partial", "failed"]
NAME = "journal.jsonl"
SCHEMA = 1


class Journal:
    """Appends and syncs; locked for as long as it is open, so that no two batches write into one folder.

    `last`: of each key, its last line. A last line that a crash cut short is left out, and its rest removed. Raises
    ConfigError for a folder that another batch writes into or for lines that are no journal's, and SinkError.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.last: dict[str, Mapping[str, Any]] = {}
        try:
            self._file = self.path.open("a+b")
        except OSError as error:
            raise failure(error, self.path) from error
        try:
            self._lock(folder)
            self._read()
        except BaseException:
            self._file.close()
            raise
        with contextlib.suppress(OSError):
            sync_folder(folder)

    def add(self, key: str, file: str, status: Status, **more: object) -> None:
        """Write a line; returns when it is on the disk."""
        entry = {"schema": SCHEMA, "key": key, "file": file, "status": status, **more}
        line = json.dumps(entry, separators=(",", ":")) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise failure(error, self.path) from error
        self.last[key] = entry

    def close(self) -> None:
        """Close it, and let others in."""
        self._file.close()

    def _lock(self, folder: Path) -> None:
        try:
            import fcntl
        except ImportError:  # not on Windows, where nothing is locked
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another batch writes into {folder}: wait for it, or give another folder") from error
        except OSError:  # a file system without locks
            return

    def _read(self) -> None:
        self._file.seek(0)
        data = self._file.read()
        whole = data.rfind(b"\n") + 1
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                entry = json.loads(line)
                self.last[entry["key"]] = entry
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(f"{self.path}, line {number}, is no journal's: give another folder") from error
            if entry.get("schema") != SCHEMA:
                raise ConfigError(f"{self.path} is of another version of rtseg: give another folder")
        if whole < len(data):
            try:
                self._file.truncate(whole)
            except OSError as error:
                raise SinkError(f"cannot mend {self.path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
