"""`rtseg drive` and `rtseg batch`: a dashcam's file, and archives of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rtseg.cli.options import (
    Background,
    ConfigFile,
    Filters,
    Json,
    Model,
    Overlay,
    Providers,
    Quiet,
    Threads,
    names_of,
)

if TYPE_CHECKING:
    from rtseg.archive.batch import Batch, Progress
    from rtseg.archive.drive import DriveOptions
    from rtseg.archive.tasks import RunChoice

Calibration = Annotated[Path | None, typer.Option(help="How the camera looks at the road, as a file.", metavar="FILE")]
Height = Annotated[float | None, typer.Option(help="Of the camera over the road.", metavar="METRES", min=0.3, max=5.0)]
Fov = Annotated[
    float | None, typer.Option(help="What the lens sees, across the picture.", metavar="DEGREES", min=10.0, max=165.0)
]
Analyzers = Annotated[
    str | None,
    typer.Option(
        help="What is read off the road: lanes, obstacles, both joined by a comma, or none; usually both.",
        metavar="NAMES",
    ),
]
Detector = Annotated[
    str | None, typer.Option(help="A second model, for the boxes of obstacles, such as yolox-nano.", metavar="NAME")
]
Every = Annotated[
    int,
    typer.Option(
        help="The network sees every so many frames; through the others things are followed.", metavar="NUMBER", min=1
    ),
]
GpsOffset = Annotated[
    float | None,
    typer.Option(
        help="Seconds of the video's time at which the log begins; usually by the time of recording.", metavar="SECONDS"
    ),
]
Parquet = Annotated[bool, typer.Option("--parquet", help="Write the tables as Parquet too.")]
Clips = Annotated[bool, typer.Option(help="Cut a clip around each event.")]
Report = Annotated[bool, typer.Option(help="Write report.html, a page of the drive.")]
KafkaServers = Annotated[
    str | None, typer.Option("--kafka", help="Send a message a frame to this broker.", metavar="HOST:PORT")
]
Topic = Annotated[str, typer.Option(help="Of the messages.", metavar="NAME")]
Codec = Annotated[str | None, typer.Option(help="Of the video, as in `rtseg run`.", metavar="NAME[:key=value,...]")]


def drive(
    source: Annotated[str, typer.Argument(help="A dashcam's file, or anything live.", metavar="INPUT")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder for all that is made.", metavar="DIR")],
    calibration: Calibration = None,
    height: Height = None,
    fov: Fov = None,
    analyzers: Analyzers = None,
    detector: Detector = None,
    every: Every = 2,
    gps: Annotated[
        str, typer.Option(help="GPX, NMEA or SRT; auto for one beside the file, or none.", metavar="FILE")
    ] = "auto",
    gps_offset: GpsOffset = None,
    live: Annotated[
        bool, typer.Option("--live", help="As from a camera: at its own pace, frames that come late left out.")
    ] = False,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="Show it too: window, mjpeg:PORT, rtmp://...; once for each.", metavar="OUT"),
    ] = None,
    model: Annotated[str, typer.Option(help="A model that knows roads.", metavar="NAME")] = "road",
    overlay: Overlay = None,
    codec: Codec = None,
    parquet: Parquet = False,
    clips: Clips = True,
    report: Report = True,
    kafka: KafkaServers = None,
    topic: Topic = "rtseg",
    providers: Providers = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read a road off a video: the video with what was seen, tables, clips of events and a summary."""
    from rtseg.archive.drive import DriveOptions, open_drive
    from rtseg.cli.console import log_to_stderr, print_json, print_stats
    from rtseg.cli.interrupts import stop_on_signal
    from rtseg.cli.progress import progress_bar
    from rtseg.errors import EXIT_PARTIAL

    log_to_stderr(quiet=quiet)
    options = DriveOptions(
        model=model,
        calibration=calibration,
        height=height,
        fov=fov,
        analyzers=_analyzers(analyzers),
        detector=detector,
        every=every,
        gps=gps,
        gps_offset=gps_offset,
        overlay=overlay,
        codec=codec,
        providers=_tuple(providers),
        threads=threads,
        parquet=parquet,
        clips=clips,
        report=report,
        live=live,
        to=tuple(to or ()),
        kafka=kafka,
        topic=topic,
    )
    opened = open_drive(source, output, options)
    with stop_on_signal(quiet=quiet) as interruption:
        with progress_bar(opened.info, quiet=quiet or json) as progress:
            stats, summary = opened.run(stop=interruption.event, progress=progress)
        if json:
            print_json(summary)
        elif not quiet:
            print_stats(stats)
            _tell_drive(summary, output)
        code = interruption.exit_code or (EXIT_PARTIAL if stats.status == "partial" else 0)
    raise typer.Exit(code)


def batch(
    archive: Annotated[
        str, typer.Argument(help="A folder, with all below it, or a pattern in quotes.", metavar="FOLDER_OR_GLOB")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder with one for each file.", metavar="DIR")],
    kind: Annotated[
        Literal["drive", "run"], typer.Option("--as", help="What is done with a file: rtseg drive or rtseg run.")
    ] = "drive",
    jobs: Annotated[
        int | None, typer.Option(help="Files at a time; usually one for two cores.", metavar="NUMBER", min=1)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier batch ended.")] = False,
    cluster: Annotated[
        str | None, typer.Option(help="A Ray cluster that does it: auto, or HOST:PORT.", metavar="ADDRESS")
    ] = None,
    calibration: Calibration = None,
    height: Height = None,
    fov: Fov = None,
    analyzers: Analyzers = None,
    detector: Detector = None,
    every: Every = 2,
    gps_offset: GpsOffset = None,
    model: Model = None,
    background: Background = None,
    overlay: Overlay = None,
    filters: Filters = None,
    config: ConfigFile = None,
    masks: Annotated[bool, typer.Option("--masks", help="With --as run: the masks of all frames, as PNG.")] = False,
    codec: Codec = None,
    parquet: Parquet = False,
    clips: Clips = True,
    report: Report = True,
    kafka: KafkaServers = None,
    topic: Topic = "rtseg",
    providers: Providers = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Do a whole archive, each file once, whatever dies in between; started again with --resume it goes on."""
    from rtseg.archive.batch import batch as run_batch
    from rtseg.archive.drive import DriveOptions
    from rtseg.archive.tasks import RunChoice, shown
    from rtseg.cli.console import log_to_stderr, print_json
    from rtseg.cli.interrupts import stop_on_signal
    from rtseg.config import Config, read_config
    from rtseg.errors import ConfigError

    log_to_stderr(quiet=quiet)
    choice: DriveOptions | RunChoice
    given: dict[str, object]
    if kind == "drive":
        given = {"--background": background, "--filters": filters, "--config": config, "--masks": masks or None}
        if others := [name for name, value in given.items() if value is not None]:
            raise ConfigError(f"{', '.join(others)} is of rtseg run: add --as run, or leave it out")
        choice = DriveOptions(
            model=model or "road",
            calibration=calibration,
            height=height,
            fov=fov,
            analyzers=_analyzers(analyzers),
            detector=detector,
            every=every,
            gps_offset=gps_offset,
            overlay=overlay,
            codec=codec,
            providers=_tuple(providers),
            threads=threads,
            parquet=parquet,
            clips=clips,
            report=report,
            kafka=kafka,
            topic=topic,
        )
    else:
        given = {"--calibration": calibration, "--height": height, "--fov": fov, "--analyzers": analyzers}
        given |= {"--detector": detector, "--parquet": parquet or None, "--kafka": kafka}
        if others := [name for name, value in given.items() if value is not None]:
            raise ConfigError(f"{', '.join(others)} is of rtseg drive: leave it out, or leave --as run out")
        options = {
            "model": model,
            "background": background,
            "overlay": overlay,
            "filters": filters,
            "providers": names_of(providers),
            "threads": threads,
        }
        base = Config() if config is None else read_config(config)
        choice = RunChoice(base, {key: value for key, value in options.items() if value is not None}, codec, masks)
    with stop_on_signal(quiet=quiet) as interruption, _bar(quiet=quiet or json) as progress:
        made = run_batch(
            archive,
            output,
            choice,
            jobs=jobs,
            resume=resume,
            cluster=cluster,
            stop=interruption.event,
            progress=progress,
        )
    _tell_batch(made, quiet=quiet or json)
    if json:
        files = {
            shown(name): {"status": r.status, "reason": r.reason, "frames": r.frames} for name, r in made.files.items()
        }
        print_json({**made.counts, "skipped": made.skipped, "stopped": made.stopped, "files": files})
    raise typer.Exit(interruption.exit_code or made.code)


def _analyzers(text: str | None) -> tuple[str, ...] | None:
    return () if text == "none" else _tuple(text)


def _tuple(text: str | None) -> tuple[str, ...] | None:
    names = names_of(text)
    return None if names is None else tuple(names)


def _tell_drive(summary: dict[str, object], folder: Path) -> None:
    from rtseg.cli.console import stderr

    events = summary["events"]
    found = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in events.items()) if events else "none"  # type: ignore[attr-defined]
    stderr().print(f"events: {found}", markup=False)
    notes = summary["notes"]
    assert isinstance(notes, list)
    for note in notes:
        stderr().print(f"note: {note}", markup=False)
    if summary.get("report"):
        stderr().print(f"report: {folder / str(summary['report'])}", markup=False, soft_wrap=True)


def _tell_batch(made: Batch, *, quiet: bool) -> None:
    """What is not as it should be, and a line for all."""
    from rtseg.archive.tasks import shown
    from rtseg.cli.console import print_error, stderr

    for name, result in made.files.items():
        if result.status == "failed":
            print_error(f"{shown(name)}: {result.reason}")
        elif result.status == "partial" and not quiet:
            stderr().print(f"partial: {shown(name)}: {result.reason}", markup=False, style="yellow")
    if not quiet:
        counts = ", ".join(f"{count} {status}" for status, count in made.counts.items())
        before = f", {made.skipped} of them before" if made.skipped else ""
        stderr().print(f"{'stopped: ' if made.stopped else ''}{counts}{before}", markup=False)


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """The whole archive's progress, with the frames of the files that are being worked on."""
    from rtseg.archive.tasks import shown
    from rtseg.cli.console import stderr

    console = stderr()
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}", markup=False),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, said="")

        def update(progress: Progress) -> None:
            failed = f"{progress.counts['failed']} failed  " if progress.counts["failed"] else ""
            running = ", ".join(f"{shown(name)} {frames}" for name, frames in progress.running.items())
            bar.update(task, total=progress.total, completed=progress.finished, said=failed + running)

        yield update
