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
    Window,
    names_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtseg.types import Output


def segment(
    images: Annotated[
        list[Path],
        typer.Argument(help="Pictures, folders of pictures, or one DICOM or NIfTI scan.", metavar="IMAGE_OR_FOLDER"),
    ],
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
    window: Window = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the masks of pictures: STEM.png, or STEM.REGION.png for each of several regions.

    They are those of `rtseg.segment`; slices of a scan are numbered: 000000.png. Probabilities are 0 to 255; class maps
    hold the index of the class. Pictures that cannot be read are named and counted, the others are done, and the exit
    code is then 7.
    """
    from rtseg.cli.console import log_to_stderr, print_error, print_json
    from rtseg.cli.run import run_job
    from rtseg.errors import ConfigError
    from rtseg.options import configure, scan_at
    from rtseg.stills import build_stills

    log_to_stderr(quiet=quiet)
    scans = [path for path in images if path.exists() and scan_at(path) is not None]
    if scans and len(images) > 1:
        raise ConfigError(f"{scans[0]} is a scan: give it alone, since its slices are numbered")
    config = configure(
        images[0] if scans else images,
        masks=output,
        model=model,
        filters=filters,
        providers=names_of(providers),
        threads=threads,
        prompts=prompts,
        window=window,
        task=task,
        threshold=threshold,
        mask_threshold=mask_threshold,
        overlap_mask_area_threshold=overlap_mask_area_threshold,
    )
    lines = _Lines()
    job = build_stills(config, more_sinks=(lines,) if json else ())
    source: Any = job.source
    lines.files = scans or source.paths
    _, code = run_job(job, quiet=quiet or json)
    for path, reason in getattr(source, "failures", {}).items():
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

        # A scan is one file of many slices, which "index" tells apart.
        file = self.files[0 if len(self.files) == 1 else output.frame.index]
        print_json({"image": str(file), **record(output)})

    def close(self) -> None:
        pass
