"""`rtseg bench`: what a video costs on this machine, by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
) -> None:
    """Run a video twice, without output and into H.264 at its fastest, and say where the time goes."""
    import tempfile
    from pathlib import Path

    from rtseg.cli.console import print_json, stage_table, stderr, stdout
    from rtseg.config import NullSink, VideoSink
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
