"""`rtseg run`: a video through a model and effects into files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtseg.cli.options import (
    Background,
    ConfigFile,
    End,
    Filters,
    Framing,
    Hardware,
    Input,
    Json,
    KeepHeld,
    MaskThreshold,
    Model,
    OverlapThreshold,
    Overlay,
    Preset,
    Prompts,
    Providers,
    Quiet,
    Start,
    Subject,
    Task,
    Threads,
    Threshold,
    Window,
    names_of,
)

if TYPE_CHECKING:
    from rtseg.build import Job
    from rtseg.stats import Stats


def run(
    source: Input = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A video, a folder for pictures, or a picture.", metavar="OUTPUT"),
    ] = None,
    background: Background = None,
    overlay: Overlay = None,
    model: Model = None,
    config: ConfigFile = None,
    start: Start = None,
    end: End = None,
    codec: Annotated[
        str | None,
        typer.Option(
            help="h264, h265, av1, vp9, prores4444 or h264_nvenc, with the encoder's options: h264:crf=18,preset=fast.",
            metavar="NAME[:key=value,...]",
        ),
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="A folder for the masks of all frames, as PNG.", metavar="DIR")
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(help="A file for a JSON object a frame; - is standard output.", metavar="FILE.jsonl"),
    ] = None,
    filters: Filters = None,
    framing: Framing = None,
    providers: Providers = None,
    threads: Threads = None,
    adaptive: Annotated[
        bool | None,
        typer.Option(help="Skip the network where a frame hardly differs from an earlier one; usually not."),
    ] = None,
    focus: Annotated[
        bool | None,
        typer.Option(help="Show a matte's network the subject and not the frame around it; usually not."),
    ] = None,
    preset: Preset = None,
    subject: Subject = None,
    keep_held: KeepHeld = False,
    fused: Annotated[
        bool | None,
        typer.Option(help="Make whole frames by one graph; by default where the network runs on a GPU."),
    ] = None,
    hardware: Hardware = None,
    window: Window = None,
    measure: Annotated[
        bool | None, typer.Option("--measure", help="Put counts and areas of what is found into the records.")
    ] = None,
    prompts: Prompts = None,
    task: Task = None,
    threshold: Threshold = None,
    mask_threshold: MaskThreshold = None,
    overlap_mask_area_threshold: OverlapThreshold = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Segment a video, put effects on it, and write it with its sound. An output of that name is replaced."""
    from rtseg.build import build
    from rtseg.cli.console import log_to_stderr
    from rtseg.errors import ConfigError
    from rtseg.options import configure

    log_to_stderr(quiet=quiet)
    if json and records is not None and str(records) == "-":
        raise ConfigError("--json and --records - both write to standard output: give --records a file")
    job = build(
        configure(
            source or None,
            output,
            config=config,
            model=model,
            background=background,
            overlay=overlay,
            filters=filters,
            framing=framing,
            start=start,
            end=end,
            codec=codec,
            masks=masks,
            records=records,
            providers=names_of(providers),
            threads=threads,
            adaptive=adaptive,
            focus=focus,
            preset=preset,
            subject=subject,
            keep_held=keep_held or None,
            fused=fused,
            hardware=hardware,
            window=window,
            measure=measure,
            prompts=prompts,
            task=task,
            threshold=threshold,
            mask_threshold=mask_threshold,
            overlap_mask_area_threshold=overlap_mask_area_threshold,
        )
    )
    stats, code = run_job(job, quiet=quiet or json)
    if json:
        from rtseg.cli.console import print_json, stats_json

        print_json({"input": job.source.info.name, "model": job.card.name, **stats_json(stats), "notes": job.notes})
    raise typer.Exit(code)


def run_job(job: Job, *, quiet: bool = False) -> tuple[Stats, int]:
    """Run with a progress bar until the end or a signal; stats, and the exit code that they mean."""
    from rtseg.cli.console import print_error, print_stats, stderr
    from rtseg.cli.interrupts import stop_on_signal
    from rtseg.cli.progress import progress_bar
    from rtseg.errors import EXIT_PARTIAL, RtsegError

    with stop_on_signal(quiet=quiet) as interruption:
        try:
            with progress_bar(job.source.info, quiet=quiet) as progress:
                stats = job.run(stop=interruption.event, progress=progress)
        except RtsegError as error:
            if interruption.exit_code is None:
                raise
            print_error(str(error))
            raise typer.Exit(interruption.exit_code) from error
        if not quiet:
            for note in job.notes:
                stderr().print(f"note: {note}", markup=False)
        if not quiet or stats.status == "partial":
            print_stats(stats)
        return stats, interruption.exit_code or (EXIT_PARTIAL if stats.status == "partial" else 0)
