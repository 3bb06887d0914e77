"""What people and programs get to see: stderr is for people, stdout for results and `--json`."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import traceback
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    from rtseg.stats import StageTimes, Stats
    from rtseg.tables import Table as Tabled


@lru_cache(maxsize=1)
def stderr() -> Console:
    """The console for people, one for all, so that messages stand above a progress bar; plain without a terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def stdout() -> Console:
    """A console for tables."""
    from rich.console import Console

    return Console(highlight=False)


def print_error(message: str) -> None:
    """One red line."""
    from rich.text import Text

    stderr().print(Text.assemble(("error: ", "bold red"), (" ".join(message.split()), "red")))


def print_stats(stats: Stats) -> None:
    """The last line of a run."""
    stderr().print(str(stats), markup=False, style="yellow" if stats.status == "partial" else None)


def log_to_stderr(*, quiet: bool = False) -> None:
    """Show the warnings of rtseg as lines of their own; RTSEG_DEBUG=1 shows all it logs, `quiet` only errors."""
    log = logging.getLogger("rtseg")
    handler = next((handler for handler in log.handlers if isinstance(handler, _Lines)), None)
    if handler is None:
        handler = _Lines()
        log.addHandler(handler)
    handler.setLevel(logging.ERROR if quiet else logging.DEBUG)
    if os.environ.get("RTSEG_DEBUG"):
        log.setLevel(logging.DEBUG)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from rich.text import Text

        if any(isinstance(getattr(value, "__cause__", None), BrokenPipeError) for value in record.args or ()):
            return  # our reader has left, which is no error of anybody's
        message = " ".join(record.getMessage().split())
        stderr().print(Text.assemble((f"{record.levelname.lower()}: ", "yellow"), message))


def print_internal_error(error: BaseException) -> None:
    """One line for a fault of ours: where the traceback is, and how to report it; RTSEG_DEBUG=1 shows it all."""
    text = "".join(traceback.format_exception(error))
    if os.environ.get("RTSEG_DEBUG"):
        sys.stderr.write(text)
    try:
        with tempfile.NamedTemporaryFile("w", prefix="rtseg-", suffix=".log", delete=False, encoding="utf-8") as log:
            log.write(f"{' '.join(sys.argv)}\n{text}")
        where = f"the traceback is in {log.name}"
    except OSError:
        where = "set RTSEG_DEBUG=1 to see the traceback"
    print_error(
        f"internal error: {type(error).__name__}: {error} ({where}; "
        "please report it with that file and `rtseg doctor --json`)"
    )


def print_json(value: Any) -> None:
    """One JSON object on one line of stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=_plain) + "\n")
    sys.stdout.flush()


def stats_json(stats: Stats) -> dict[str, Any]:
    """Stats as plain values, with the rate."""
    return {**asdict(stats), "fps": round(stats.fps, 3)}


def stage_table(stages: Mapping[str, StageTimes], *, title: str) -> Table:
    """Wall milliseconds a frame, a row a stage."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("stage")
    for name in ("p50 ms", "p95 ms", "p99 ms", "mean ms", "frames"):
        table.add_column(name, justify="right")
    for stage, t in stages.items():
        table.add_row(stage, *(f"{value:.2f}" for value in (t.p50, t.p95, t.p99, t.mean)), str(t.count))
    return table


def print_tables(tables: Sequence[Tabled]) -> None:
    """Tables on stdout; a first word that repeats is shown once."""
    for table in tables:
        stdout().print(_rich(table))


def _rich(table: Tabled) -> Table:
    from rich import box
    from rich.table import Table

    shown = Table(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for number, heading in enumerate(table.headings):
        shown.add_column(heading, justify="left" if number < table.words else "right", no_wrap=number < table.words)
    last = ""
    for row in table.rows:
        first = "" if table.words > 1 and row[0] == last else row[0]
        last = row[0]
        shown.add_row(first, *row[1:])
    return shown


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    if hasattr(value, "item"):  # a numpy number
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON")
