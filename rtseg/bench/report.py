"""What a suite found, as tables for people: a page, and the same on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtseg.bench.job import Report
from rtseg.bench.plots import plots
from rtseg.bench.results import Results
from rtseg.bench.stages import PARTS, overhead
from rtseg.sinks.files import make_folder, write_whole
from rtseg.tables import Table

_PROGRAMS = {
    "floor": "decode and encode alone",
    "network": "the network alone",
    "every": "rtseg, every frame",
    "adaptive": "rtseg --adaptive",
}
_HOW = """\
CPU-ms is user and system time of all threads of a process of its own, from just before the first frame until the \
output is closed. Medians of interleaved rounds; decode and encode in one thread each, x264 ultrafast. The floor \
decodes the clip and encodes the pictures that rtseg made of it; the limit is the floor and the network in a tight \
loop. Latency is that of paced runs. How to read and repeat this: benchmarks/README.md."""


def write(results: Results, folder: Path) -> list[Path]:
    """`bench.json`, `bench.md` and the plots it shows, in a folder that is made where missing. Raises SinkError."""
    make_folder(folder)
    drawn = plots(results)
    files = {f"{name}.png": data for name, (_, data) in drawn.items()}
    pictures = [f"![{title}]({name}.png)" for name, (title, _) in drawn.items()]
    files["bench.md"] = page(results, pictures).encode()
    files["bench.json"] = (json.dumps(results.data, indent=1, ensure_ascii=False) + "\n").encode()
    for name, data in files.items():
        write_whole(folder / name, data)
    return [folder / name for name in files]


def page(results: Results, pictures: list[str]) -> str:
    """The report in Markdown."""
    on = results.machine
    about = [f"{results.input}; {results.effect}; {results.date}.", ", ".join(f"{key} {on[key]}" for key in on) + "."]
    if results.load:
        about.append(f"**{results.load}**")
    missing = [f"- {part}: {why}" for part, why in results.unmeasured.items()]
    parts = [
        "# rtseg bench",
        *about,
        _HOW,
        *pictures,
        *(f"## {table.title}\n\n{table.markdown}" for table in tables(results)),
        "## Not measured here\n\n" + ("\n".join(missing) or "Nothing."),
    ]
    return "\n\n".join(parts) + "\n"


def tables(results: Results) -> list[Table]:
    """Targets first, then what they come from."""
    made = [_targets(results), _whole(results), _ratios(results), _stages(results), _paced(results)]
    made += [_adaptive_costs(results), _adaptive_masks(results), _start(results), _engine(results)]
    if results.streams:
        made.append(_streams(results))
    if any(size.energy.cpu_joules or size.energy.gpu_joules for size in results.sizes.values()):
        made.append(_energy(results))
    return made + [table for name, peer in results.peers.items() if (table := _peer(name, peer)) is not None]


def _targets(results: Results) -> Table:
    rows = [
        (
            t.name,
            f"{t.value:.3g}",
            f"{'at least' if t.at_least else 'at most'} {t.limit:g}",
            "met" if t.met else "MISSED",
        )
        for t in results.targets
    ]
    return Table("Targets", ("what", "measured", "target", ""), tuple(rows), 1)


def _whole(results: Results) -> Table:
    rows = []
    for name, size in results.sizes.items():
        for program, words in _PROGRAMS.items():
            report, spread = size.programs[program], size.spread[program]
            between = f"{min(spread):.2f}–{max(spread):.2f}"
            figures = (f"{report.cpu_ms:.2f}", between, f"{report.fps:.0f}", f"{report.peak_mb:.0f}")
            rows.append((name, words, *figures, str(size.frames)))
    heads = ("size", "program", "CPU-ms/frame", "rounds", "fps", "peak MB", "frames")
    return Table(f"End to end, median of {results.rounds} rounds", heads, tuple(rows))


def _ratios(results: Results) -> Table:
    rows = [
        (
            name,
            f"{size.to_floor:.2f}",
            f"{size.to_limit:.2f}",
            _figure(size.adaptive_ratio),
            f"{size.programs['every'].cpu_ms - size.limit_ms:.2f}",
            f"{overhead(size.stages):.2f}",
        )
        for name, size in results.sizes.items()
    ]
    heads = ("size", "x floor", "x limit", "adaptive x every", "ms over the limit", "sum of stages")
    return Table("Ratios of CPU time, and what is not decode, encode or network", heads, tuple(rows), 1)


def _stages(results: Results) -> Table:
    names = dict.fromkeys(stage for size in results.sizes.values() for stage in size.stages)
    shown = [name for name in names if name != "segment"]
    rows = [
        (
            f"{name} (of segment)" if name in PARTS else name,
            *(_figure(size.stages.get(name)) for size in results.sizes.values()),
        )
        for name in shown
    ]
    return Table("Stages by themselves, CPU-ms a frame", ("stage", *results.sizes), tuple(rows), 1)


def _paced(results: Results) -> Table:
    rows = []
    for name, size in results.sizes.items():
        for kind, report in size.paced.items():
            rows.append((name, _PROGRAMS[kind], *_latency(report), f"{report.cpu_ms:.2f}"))
    heads = ("size", "program", "p50 ms", "p95 ms", "p99 ms", "dropped", "of", "CPU-ms/frame")
    return Table("Paced at 30 frames a second: latency from arrival to written", heads, tuple(rows))


def _latency(report: Report) -> tuple[str, ...]:
    figures = (f"{report.p50_ms:.1f}", f"{report.p95_ms:.1f}", f"{report.p99_ms:.1f}")
    return (*figures, str(report.dropped), str(report.frames + report.dropped))


def _adaptive_costs(results: Results) -> Table:
    rows = []
    for clip in results.clips:
        f = clip.fidelity
        costs = (f.every_ms, f.adaptive_ms, clip.pipeline_ratio, clip.every_ms, clip.adaptive_ms, clip.ratio)
        rows.append((clip.clip, *(f"{value:.2f}" for value in costs)))
    heads = ("clip", "pipeline", "adaptive", "ratio", "process", "adaptive", "ratio")
    return Table("Adaptive beside every frame: CPU-ms a frame", heads, tuple(rows), 1)


def _adaptive_masks(results: Results) -> Table:
    rows = []
    for clip in results.clips:
        f = clip.fidelity
        rows.append((clip.clip, str(f.frames), f"{f.asked:.2f}", f"{f.iou:.4f}", f"{f.least:.3f}", f"{f.dtssd:.2f}"))
    heads = ("clip", "frames", "network asked", "IoU", "least", "dtSSD")
    return Table("Adaptive beside every frame: masks", heads, tuple(rows), 1)


def _start(results: Results) -> Table:
    s = results.start
    single = (("import rtseg, ms", s.import_ms, s.imports), ("first frame, s", s.first_frame_s, s.first_frames))
    rows = [(name, f"{mid:.2f}", f"{min(all_):.2f}", f"{max(all_):.2f}") for name, mid, all_ in single]
    rows.append(("first frame, CPU-s", f"{s.first_frame_cpu_s:.2f}", "", ""))
    return Table(f"Start, {len(s.imports)} fresh processes", ("what", "median", "least", "most"), tuple(rows), 1)


def _engine(results: Results) -> Table:
    rows = [
        (
            name,
            e.device,
            *(f"{ms:.2f}" for ms in (e.p50_ms, e.p95_ms, e.p99_ms)),
            f"{e.fps:.0f}",
            *(f"{b / 1e6:.2f}" for b in (e.up_bytes, e.down_bytes)),
        )
        for name, e in results.engine.items()
    ]
    heads = ("graph", "device", "p50 ms", "p95 ms", "p99 ms", "a second", "MB up", "MB down")
    return Table("The engine alone, wall time, and what crosses the bus in a run", heads, tuple(rows))


def _streams(results: Results) -> Table:
    rows = [
        (
            str(s.streams),
            *(f"{ms:.1f}" for ms in (s.p50_ms, s.p95_ms, s.p99_ms, s.cpu_ms)),
            f"{s.cpu:.2f}",
            f"{100 * s.dropped:.2f} %",
            "yes" if s.carried else "no",
        )
        for s in results.streams or ()
    ]
    heads = ("streams", "p50 ms", "p95 ms", "p99 ms", "CPU-ms/frame", "cores", "dropped", "carried")
    return Table("Streams at once, until p99 exceeds 33 ms", heads, tuple(rows), 0)


def _energy(results: Results) -> Table:
    rows = []
    for name, size in results.sizes.items():
        for part, joules in (("cpu", size.energy.cpu_joules), ("gpu", size.energy.gpu_joules)):
            if joules is not None:
                watts = joules / max(size.energy.seconds, 1e-9)
                rows.append((name, part, f"{watts:.1f}", f"{joules / size.energy_frames:.3f}"))
    return Table("Energy of the machine while every frame is segmented", ("size", "part", "W", "J/frame"), tuple(rows))


_WHOLE = ("cpu_ms", "fps", "p50_ms", "p99_ms", "peak_mb")
_SPLIT = ("total", "network", "outside", "planes")


def _peer(name: str, peer: Mapping[str, Any]) -> Table | None:
    """Of what `benchmarks.pipeline` and `benchmarks.peers` write by --json; None for another form."""
    title = f"Peers ({name}): {peer.get('title', 'untitled')}"
    match peer:
        case {"median": {**reports}}:
            whole = [(str(program), *_cells(report, _WHOLE)) for program, report in reports.items()]
            heads: tuple[str, ...] = ("program", "CPU-ms/frame", "fps", "p50 ms", "p99 ms", "peak MB")
            return Table(title, heads, tuple(whole), 1)
        case {"programs": [*programs]}:
            parts = [
                (str(p.get("kind")), str(p.get("label")), *_cells(p.get("median"), _SPLIT), _first(p.get("quotients")))
                for p in programs
                if isinstance(p, Mapping)
            ]
            heads = ("job", "program", *_SPLIT, "outside / rtseg's")
            return Table(title, heads, tuple(parts))
        case _:
            return None


def _cells(report: Any, keys: Sequence[str]) -> list[str]:
    return [_figure(report.get(key) if isinstance(report, Mapping) else None) for key in keys]


def _first(values: Any) -> str:
    return _figure(values[0]) if isinstance(values, Sequence) and values else ""


def _figure(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "–"
