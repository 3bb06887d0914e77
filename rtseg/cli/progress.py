"""The progress bar of a run: frames a second, time to go, and what was dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING

from rtseg.cli.console import stderr

if TYPE_CHECKING:
    from rtseg.stats import Stats
    from rtseg.types import StreamInfo


@contextmanager
def progress_bar(info: StreamInfo, *, quiet: bool = False) -> Iterator[Callable[[Stats], None] | None]:
    """A callback for `run`, or None where there is no terminal to draw on."""
    console = stderr()
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]:.0f} fps"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[lost]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(PurePath(info.name).name, total=expected_frames(info), fps=0.0, lost="")

        def update(stats: Stats) -> None:
            lost = ", ".join(f"{n} {what}" for what, n in (("dropped", stats.dropped), ("held", stats.held)) if n)
            bar.update(task, completed=stats.frames_out, fps=stats.fps, lost=lost)

        yield update


def expected_frames(info: StreamInfo) -> int | None:
    """How many frames the cut of the source should give; None where the source does not say."""
    if info.start is None and info.end is None and info.frames:
        return info.frames
    if info.seconds is None or info.rate is None:
        return None
    seconds = min(info.seconds, info.end if info.end is not None else info.seconds) - (info.start or 0.0)
    return max(1, round(seconds * info.rate))
