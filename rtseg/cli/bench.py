"""`rtseg bench`: what a video costs on this machine, at a glance, or all of it as a report."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtseg.cli.options import (
    Background,
    ConfigFile,
    End,
    Filters,
    Input,
    Json,
    Model,
    Overlay,
    Providers,
    Threads,
    names_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtseg.bench.settings import Settings
    from rtseg.bench.suite import Progress
    from rtseg.config import Config, SinkOptions

ENCODER = "h264:preset=ultrafast,tune=zerolatency"


def bench(
    source: Input,
    background: Background = None,
    overlay: Overlay = None,
    model: Model = None,
    config: ConfigFile = None,
    end: End = None,
    filters: Filters = None,
    providers: Providers = None,
    threads: Threads = None,
    json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Measure everything; a folder for the report.", metavar="FOLDER"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure everything, but in a minute: once, and small.")
    ] = False,
    size: Annotated[
        list[str] | None,
        typer.Option(help="360p, 720p, 1080p, 4K or WIDTHxHEIGHT; may be repeated; usually all four.", metavar="SIZE"),
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            help="A video, or a folder of videos, whose masks with --adaptive are compared; may be repeated.",
            metavar="PATH",
        ),
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Of each clip; usually 300.", metavar="NUMBER", min=2)] = None,
    rounds: Annotated[
        int | None, typer.Option(help="In which every program runs once; usually 3.", metavar="NUMBER", min=1)
    ] = None,
    peers: Annotated[
        list[Path] | None,
        typer.Option(help="What `python -m benchmarks.pipeline --json FILE` wrote; may be repeated.", metavar="FILE"),
    ] = None,
) -> None:
    """Say what a video costs here. With -o or --quick: everything, beside what nobody can avoid.

    Without them the video runs twice, without output and into H.264 at its fastest.
    """
    from rtseg.options import configure

    base = configure(
        source,
        config=config,
        model=model,
        background=background,
        overlay=overlay,
        filters=filters,
        end=end,
        providers=names_of(providers),
        threads=threads,
    )
    if output is None and not (quick or size or inputs or frames or rounds or peers):
        _glance(source, base, json=json)
        return
    from rtseg.bench.settings import make_settings

    settings = make_settings(sizes=size or (), frames=frames, rounds=rounds, inputs=inputs or (), quick=quick)
    _suite(base, settings, peers or [], output, json=json)


def _suite(config: Config, settings: Settings, peers: list[Path], output: Path | None, *, json: bool) -> None:
    from rtseg.bench.peers import read_peers
    from rtseg.bench.report import tables, write
    from rtseg.bench.suite import measure
    from rtseg.cli.console import print_json, print_tables, stderr, stdout
    from rtseg.sinks.files import make_folder

    others = read_peers(peers)
    if output is not None:
        make_folder(output)  # before an hour of measuring, not after it
    with _progress(quiet=json) as progress:
        results = measure(config, settings, peers=others, progress=progress)
    written = [] if output is None else write(results, output)
    if json:
        print_json(results.data)
        return
    print_tables(tables(results))
    for part, why in results.unmeasured.items():
        stdout().print(f"not measured, {part}: {why}", markup=False, soft_wrap=True)
    for path in written:
        stdout().print(str(path), markup=False, soft_wrap=True)
    if results.load:
        stderr().print(results.load, markup=False)


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress]:
    """A line on a terminal's standard error that says what is being measured."""
    from rtseg.cli.console import stderr

    if quiet or not stderr().is_terminal:
        yield lambda _what: None
        return
    with stderr().status("loading") as status:
        yield status.update


def _glance(source: str, base: Config, *, json: bool) -> None:
    import tempfile

    from rtseg.cli.console import print_json, stage_table, stderr, stdout
    from rtseg.config import NullSink, VideoSink

    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="rtseg-bench-") as scratch:
        outputs: dict[str, SinkOptions] = {
            "no output": NullSink(),
            "h264 ultrafast": VideoSink(path=Path(scratch) / "out.mp4", codec=ENCODER, audio=False),
        }
        for name, sink in outputs.items():
            stats, figures = _measure(base.model_copy(update={"sinks": (sink,)}), quiet=json)
            results[name] = figures
            if not json:
                stdout().print(stage_table(stats.stages, title=name))
    memory = _peak_megabytes()
    if json:
        print_json({"input": source, "peak_mb": memory, "runs": results})
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("output", "CPU-ms a frame", "frames a second", "latency p50 ms", "latency p99 ms", "frames"):
        table.add_column(heading, justify="left" if heading == "output" else "right")
    for name, figures in results.items():
        keys = ("cpu_ms", "fps", "latency_p50_ms", "latency_p99_ms", "frames")
        table.add_row(name, *(f"{figures[key]:.{0 if key == 'frames' else 1}f}" for key in keys))
    stdout().print(table)
    stdout().print(f"peak memory {memory:.0f} MB")
    _warn_if_busy(stderr())


def _measure(config: Config, *, quiet: bool) -> tuple[Any, dict[str, Any]]:
    import time

    from rtseg.build import build
    from rtseg.cli.console import stats_json
    from rtseg.cli.interrupts import stop_on_signal
    from rtseg.cli.progress import progress_bar

    job = build(config)
    with stop_on_signal(quiet=quiet) as interruption, progress_bar(job.source.info, quiet=quiet) as progress:
        before = time.process_time()
        stats = job.run(stop=interruption.event, progress=progress)
        cpu = (time.process_time() - before) * 1e3 / max(1, stats.frames_out)
    if interruption.exit_code is not None:
        raise typer.Exit(interruption.exit_code)
    latency = stats.stages["latency"]
    return stats, {
        "cpu_ms": cpu,
        "fps": stats.fps,
        "latency_p50_ms": latency.p50,
        "latency_p99_ms": latency.p99,
        "frames": stats.frames_out,
        **stats_json(stats),
    }


def _peak_megabytes() -> float:
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _warn_if_busy(console: Any) -> None:
    import os

    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load > processors:
        console.print(f"note: the load of this machine is {load:.1f}: figures of a busy machine say little")
