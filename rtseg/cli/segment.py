"""`rtseg segment`: masks of single pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtseg.cli.options import (
    Filters,
    Json,
    MaskThreshold,
    Model,
    OverlapThreshold,
    Prompts,
    Providers,
    Quiet,
    Task,
    Threads,
    Threshold,
    names_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtseg.types import Output


def segment(
    images: Annotated[list[Path], typer.Argument(help="Pictures, and folders of pictures.", metavar="IMAGE_OR_FOLDER")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the masks.", metavar="DIR")],
    model: Model = None,
    filters: Filters = None,
    providers: Providers = None,
    threads: Threads = None,
    prompts: Prompts = None,
    task: Task = None,
    threshold: Threshold = None,
    mask_threshold: MaskThreshold = None,
    overlap_mask_area_threshold: OverlapThreshold = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the masks of pictures: STEM.png, or STEM.REGION.png for each of several regions.

    Probabilities are 0 to 255; class maps hold the index of the class. Pictures that cannot be read are named and
    counted, the others are done, and the exit code is then 7.
    """
    from rtseg.build import build
    from rtseg.cli.console import log_to_stderr, print_error, print_json
    from rtseg.cli.run import run_job
    from rtseg.options import configure

    log_to_stderr(quiet=quiet)
    config = configure(
        images,
        masks=output,
        model=model,
        filters=filters,
        providers=names_of(providers),
        threads=threads,
        prompts=prompts,
        task=task,
        threshold=threshold,
        mask_threshold=mask_threshold,
        overlap_mask_area_threshold=overlap_mask_area_threshold,
    )
    lines = _Lines()
    job = build(config, more_sinks=(lines,) if json else ())
    source: Any = job.source
    lines.files = source.paths
    _, code = run_job(job, quiet=quiet or json)
    for path, reason in source.failures.items():
        if json:
            print_json({"image": str(path), "error": reason})
        print_error(f"{path}: {reason}")
    raise typer.Exit(code)


class _Lines:
    """A sink: a JSON object a picture on standard output."""

    files: Sequence[Path] = ()

    def write(self, output: Output, /) -> None:
        from rtseg.cli.console import print_json
        from rtseg.sinks.records import record

        print_json({"image": str(self.files[output.frame.index]), **record(output)})

    def close(self) -> None:
        pass
