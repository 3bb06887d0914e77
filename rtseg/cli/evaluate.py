"""`rtseg eval`: several models side by side on labelled pictures and unlabelled clips."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtseg.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtseg.evaluate.runs import Progress


class Parts(StrEnum):
    """Which pictures of a set."""

    held_out = "held_out"
    train = "train"
    all = "all"


class Tasks(StrEnum):
    """What is measured."""

    semantic = "semantic"
    instance = "instance"
    panoptic = "panoptic"
    matte = "matte"
    drivable = "drivable"
    lanes = "lanes"
    obstacles = "obstacles"


def evaluate(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A model of `rtseg models list`, a card, a folder or owner/name; give several.", metavar="NAME"
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder with images/ and masks/ (or alpha/), or videos/ and alphas/; a COCO JSON file; labels of "
            "TuSimple or CULane; rendered:N; or a TOML file of sets and clips; may be repeated.",
            metavar="PATH",
        ),
    ] = None,
    task: Annotated[
        Tasks | None, typer.Option(help="What is measured on all data; usually what its labels are made for.")
    ] = None,
    clips: Annotated[
        list[Path] | None,
        typer.Option(help="An unlabelled video, or a folder of videos, for flicker; may be repeated.", metavar="PATH"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A folder for report.md, report.json and the worst pictures.", metavar="FOLDER"
        ),
    ] = None,
    part: Annotated[Parts, typer.Option(help="Which pictures of each set.")] = Parts.held_out,
    limit: Annotated[
        int | None, typer.Option(help="At most so many pictures of each set, evenly spread.", metavar="NUMBER", min=1)
    ] = None,
    boundary: Annotated[
        float | None,
        typer.Option(
            help="How far contours may be apart for boundary F; usually 0.008 of the diagonal.", metavar="SHARE"
        ),
    ] = None,
    line_tolerance: Annotated[
        float | None,
        typer.Option(help="How far lines may be apart for line F1; usually 5 pixels of 640.", metavar="PIXELS"),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of the network.", metavar="NUMBER", min=1)] = 1,
    json: Json = False,
) -> None:
    """Measure models side by side: accuracy on labelled pictures and videos, flicker on clips, and CPU time."""
    from rtseg.cli.console import print_json, print_tables, stdout
    from rtseg.evaluate.evaluation import evaluate as run
    from rtseg.evaluate.models import find_cards
    from rtseg.evaluate.plan import make_plan
    from rtseg.evaluate.tables import missing_names

    cards = find_cards(model or [])
    plan = make_plan(
        data or [],
        cards,
        clips=clips or [],
        task=task.value if task else None,
        boundary=boundary,
        line_tolerance=line_tolerance,
    )
    with _progress(quiet=json) as progress:
        report = run(cards, plan, part=part.value, limit=limit, threads=threads, folder=output, progress=progress)
    if json:
        print_json(report.data)
        return
    print_tables(report.tables)
    for sentence in missing_names(report.sets):
        stdout().print(sentence, highlight=False)
    if output is not None:
        stdout().print(f"report: {output / 'report.md'}", soft_wrap=True)


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress]:
    """A line on a terminal's standard error that says what is being measured."""
    from rtseg.cli.console import stderr

    if quiet or not stderr().is_terminal:
        yield lambda _what, _done, _all: None
        return
    with stderr().status("loading") as status:
        yield lambda what, done, every: status.update(f"{what} {done + 1}/{every}")
