"""Writes a drive's tables as it goes on: JSON lines, and Parquet beside them; the columns are those of `schema.py`."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self, TextIO

from rtseg.driving.schema import TABLES, VERSION, Events, Row, TableName, frame_rows
from rtseg.driving.state import Scene
from rtseg.errors import DependencyMissing, SinkError
from rtseg.sinks.files import PartFile, make_folder
from rtseg.types import Output

ROWS = 4096
"""Rows of a group of Parquet: what is held in memory of each table."""


class Tables:
    """A sink that writes `frames`, `lanes`, `tracks` and `events`, each as `<table>.jsonl`, into a folder.

    stream: what the column of that name says. parquet: `<table>.parquet` beside them, in groups of 4096 rows (extra
    `parquet`). Files are `.part` until closed; each is there, also without a row. An event is a row once it has ended.

    `events`: their rows; `counts`: rows of each table; `first`: the first frame's time. Raises DependencyMissing,
    SinkError or DiskFull.
    """

    def __init__(self, folder: str | os.PathLike[str], *, stream: str = "", parquet: bool = False) -> None:
        self.events: list[Row] = []
        self.counts: Counter[str] = Counter()
        self.first: float | None = None
        self._stream = stream
        self._events = Events(stream)
        self._closed = False
        place = make_folder(folder)
        self._files: list[tuple[TableName, _File]] = []
        for table in TABLES:
            self._files.append((table, _Lines(place / f"{table}.jsonl")))
            if parquet:
                self._files.append((table, _parquet(place / f"{table}.parquet", table)))

    def write(self, output: Output, /) -> None:
        """Write a frame's rows."""
        if self._closed:
            raise SinkError("these tables are closed: nothing more can be written to them")
        if self.first is None:
            self.first = output.frame.time
        scene = Scene.read(output.observations)
        ended = self._events(output, scene)
        self.events += ended
        self._put({**frame_rows(output, scene, self._stream), "events": ended})

    def close(self) -> None:
        """Write what is left, and give the files their names."""
        if self._closed:
            return
        rest = self._events.rest()
        self.events += rest
        self._put({"events": rest})
        self._closed = True
        for _, file in self._files:
            file.publish()

    def discard(self) -> None:
        """Instead of closing, where there will be no frame: leave no file."""
        self._closed = True
        for _, file in self._files:
            file.abandon()
            file.discard()

    def _put(self, rows: dict[TableName, list[Row]]) -> None:
        for table, made in rows.items():
            self.counts[table] += len(made)
        try:
            for table, file in self._files:
                if made := rows.get(table, []):
                    file.write(made)
        except BaseException:
            self._closed = True
            for _, file in self._files:
                file.abandon()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _File(Protocol):
    def write(self, rows: Sequence[Row], /) -> None: ...
    def publish(self) -> None: ...
    def abandon(self) -> None: ...
    def discard(self) -> None: ...


class _Lines:
    """A table as JSON lines, each with the schema's version."""

    def __init__(self, path: Path) -> None:
        self._file = PartFile(path)
        try:
            self._stream: TextIO = self._file.part.open("w", encoding="utf-8")
        except OSError as error:
            raise self._file.failure(error) from error

    def write(self, rows: Sequence[Row], /) -> None:
        lines = (json.dumps({"schema": VERSION, **row}, allow_nan=False, separators=(",", ":")) for row in rows)
        try:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()
        except OSError as error:
            raise self._file.failure(error) from error

    def publish(self) -> None:
        try:
            self._stream.close()
        except OSError as error:
            raise self._file.failure(error) from error
        self._file.publish()

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()

    def discard(self) -> None:
        self._file.discard()


class _Parquet:
    """A table as Parquet, compressed by zstd; the version is under the key `rtseg.schema` of its metadata."""

    def __init__(self, path: Path, table: TableName, arrow: Any, writer: Any) -> None:
        types = {"int": arrow.int64(), "float": arrow.float64(), "text": arrow.string(), "bool": arrow.bool_()}
        columns = [arrow.field(column, types[type_]) for column, type_ in TABLES[table].items()]
        self._schema = arrow.schema(columns, metadata={"rtseg.schema": str(VERSION), "rtseg.table": table})
        self._arrow, self._file = arrow, PartFile(path)
        self._rows: list[Row] = []
        try:
            self._writer = writer(str(self._file.part), self._schema, compression="zstd")
        except OSError as error:
            raise self._file.failure(error) from error

    def write(self, rows: Sequence[Row], /) -> None:
        self._rows += rows
        while len(self._rows) >= ROWS:
            self._group(self._rows[:ROWS])
            del self._rows[:ROWS]

    def publish(self) -> None:
        if self._rows:
            self._group(self._rows)
            self._rows = []
        try:
            self._writer.close()
        except OSError as error:
            raise self._file.failure(error) from error
        self._file.publish()

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.close()

    def discard(self) -> None:
        self._file.discard()

    def _group(self, rows: list[Row]) -> None:
        try:
            self._writer.write_table(self._arrow.Table.from_pylist(rows, schema=self._schema), row_group_size=ROWS)
        except OSError as error:
            raise self._file.failure(error) from error


def _parquet(path: Path, table: TableName) -> _Parquet:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise DependencyMissing(f"Parquet needs pyarrow ({error}): pip install 'rtseg[parquet]'") from error
    return _Parquet(path, table, pyarrow, ParquetWriter)
