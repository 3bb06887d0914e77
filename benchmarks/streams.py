"""How many paced streams of 720p at 30 frames a second this machine takes: see `rtseg.bench.streams`.

python -m benchmarks.streams [CLIP...] [--background blur] [--seconds 10] [--most 12]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import clips
from benchmarks.measure import ROOT, machine
from rtseg.bench.streams import Level, measure
from rtseg.config import BackgroundEffect, Config, ModelOptions


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    size = clips.SIZES[options.size]
    frames = round((options.seconds + 1) * clips.RATE)
    sources = options.clips or [None]
    paths = [clips.clip(options.folder, size, frames, source) for source in sources]
    background = "blur" if options.background == "blur" else str(clips.picture(options.folder, size))
    config = Config(
        model=ModelOptions(name=options.model, adaptive=options.adaptive),
        effects=(BackgroundEffect(paint=background),),
    )
    levels = measure(paths, config=config, seconds=options.seconds, most=options.most, only=options.only)
    Console(width=120).print(_table(levels, options))
    carried = max((entry.streams for entry in levels if entry.carried), default=0)
    print(f"carried: {carried} streams; {machine()['cpu']}, commit {machine()['commit']}")
    if options.json:
        figures = [{**dataclasses.asdict(entry), "carried": entry.carried} for entry in levels]
        chosen = {key: str(value) for key, value in vars(options).items() if key not in ("json", "clips")}
        said = {"machine": machine(), "options": chosen, "clips": [path.name for path in options.clips]}
        options.json.write_text(json.dumps({**said, "levels": figures}, indent=2) + "\n", encoding="utf-8")
    return 0


def _table(levels: Sequence[Level], options: argparse.Namespace) -> Table:
    kind = "adaptive" if options.adaptive else "every frame"
    title = f"{options.size} at {clips.RATE} fps, {options.model}, {options.background}, {kind}, {options.seconds:g} s"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    headings = (
        "streams",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "worst",
        "dropped",
        "asked",
        "cores",
        "CPU-ms",
        "load",
        "others'",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for entry in levels:
        table.add_row(
            str(entry.streams),
            *(f"{value:.1f}" for value in (entry.p50_ms, entry.p95_ms, entry.p99_ms, entry.worst_ms)),
            f"{100 * entry.dropped:.2f} %",
            f"{100 * entry.inferred:.0f} %",
            *(f"{value:.2f}" for value in (entry.cpu, entry.cpu_ms, entry.load, entry.foreign + entry.stolen)),
        )
    return table


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    first, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.streams",
        description=first,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", nargs="*", type=Path, help="videos; scaled to --size once (default: the sample)")
    parser.add_argument("--size", choices=clips.SIZES, default="720p")
    parser.add_argument("--model", default="portrait")
    parser.add_argument("--background", choices=("picture", "blur"), default="picture")
    parser.add_argument("--adaptive", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--most", type=int, default=12, help="streams to try at most")
    parser.add_argument("--only", type=int, help="measure this many streams alone")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "benchmarks", help="for clips")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
