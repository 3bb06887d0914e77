"""`rtseg demo`: the main job in one go, and a sheet that shows what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtseg.cli.options import Quiet


def demo(
    source: Annotated[
        str, typer.Argument(help="A video of yours, or the built-in sample.", metavar="INPUT", show_default=False)
    ] = "sample",
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to.", metavar="DIR")] = Path(
        "out"
    ),
    quiet: Quiet = False,
) -> None:
    """Blur the background: DIR/demo.mp4, and DIR/demo-sheet.png with input, mask, blur and another background."""
    from dataclasses import replace

    from rtseg.build import build
    from rtseg.cli.console import log_to_stderr, stage_table, stdout
    from rtseg.cli.run import run_job
    from rtseg.cli.sheet import KeepMiddle, write_sheet
    from rtseg.options import configure
    from rtseg.sinks.files import make_folder

    log_to_stderr(quiet=quiet)
    make_folder(output)
    job = build(configure(source, output / "demo.mp4", model="portrait", background="blur"))
    middle = KeepMiddle(job.sinks[0], job.source.info)
    stats, code = run_job(replace(job, sinks=(middle,)), quiet=quiet)
    if middle.output is not None:
        write_sheet(middle.output, output / "demo-sheet.png")
    if not quiet:
        stdout().print(stage_table(stats.stages, title="Milliseconds a frame"))
        stdout().print(f"{output / 'demo.mp4'}\n{output / 'demo-sheet.png'}", markup=False, soft_wrap=True)
    raise typer.Exit(code)
