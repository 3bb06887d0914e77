"""The work around the network, in rtseg and in what else one could use, frame by frame at 720p.

    python -m benchmarks.peers                             all programs, 5 min
    python -m benchmarks.peers --only transformers --json out/peers.json --markdown benchmarks/README.md

Every program is a process of its own, and rounds follow each other, as in `benchmarks.pipeline`. A frame goes from a
decoder's planes to planes for an encoder, in memory; the network is timed where it is called. "Outside" is all the
rest, but for the way from planes to the picture that a program works on and back, which rtseg does not need:
"planes" is outside with those. All in one thread where nothing else is said, CPU-ms of all threads.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import clips
from benchmarks.environments import environment
from benchmarks.job import Job
from benchmarks.measure import ROOT, LoopFailed, machine, run_child, watched
from benchmarks.split import Split
from benchmarks.video import decode, picture_of

SUPERVISION = ("supervision==0.31.2", "av>=18.1,<19", "opencv-python>=4.10")
BEGIN, END = "<!-- peers: python -m benchmarks.peers --markdown benchmarks/README.md -->\n", "<!-- end of peers -->"
COUNTS = (1, 5, 20)


@dataclasses.dataclass(frozen=True)
class Program:
    """A loop with its settings. label: in tables. ours: whether it is rtseg, which the others are divided by.

    kind: programs of one kind do the same job; a number in it is that of things in the picture. threads: of the
    network's library, 0 for as many as it takes. model: "checkpoint" or "card", of the SegFormer. at_least: what the
    quotient of its outside by rtseg's has to be, if anything.
    """

    label: str
    kind: str
    loop: str
    ours: bool = False
    threads: int = 1
    things: int = 0
    model: str = ""
    at_least: float | None = None


PROGRAMS = (
    Program("pipeline", "transformers", "transformers_pipeline", model="checkpoint", at_least=5.0),
    Program("pipeline, threads", "transformers", "transformers_pipeline", threads=0, model="checkpoint"),
    Program("with care", "transformers", "transformers_careful", model="checkpoint"),
    Program("rtseg", "transformers", "rtseg_classes", ours=True, model="card"),
    *(Program("annotators", f"supervision {n}", "supervision_masks", things=n) for n in COUNTS),
    *(Program("rtseg", f"supervision {n}", "rtseg_masks", ours=True, things=n) for n in COUNTS),
    *(Program("torch", f"detector {n}", "detector_masks", things=n) for n in COUNTS),
    *(Program("rtseg", f"detector {n}", "rtseg_detector", ours=True, things=n) for n in COUNTS),
    Program("recurrent loop", "matting", "recurrent_matte"),
    Program("rtseg", "matting", "rtseg_matte", ours=True),
)
KINDS = ("transformers", "supervision", "detector", "matting")
NEEDS = {"transformers": ("torch", "transformers"), "detector": ("torch",), "matting": ("torch",)}


def measure(
    programs: Sequence[Program], jobs: Mapping[Program, Job], *, rounds: int, pythons: Mapping[str, str]
) -> dict[Program, list[Split]]:
    """Every program once a round, the order turned by one each; LoopFailed where one loses frames."""
    found: dict[Program, list[Split]] = {program: [] for program in programs}
    for number in range(rounds):
        turn = number % len(programs)
        for program in [*programs[turn:], *programs[:turn]]:
            python = pythons.get(program.loop, sys.executable)
            split = Split(**json.loads(run_child(program.loop, jobs[program], python=python)))
            if split.frames != jobs[program].frames:
                raise LoopFailed(f"{program.loop} made {split.frames} frames of {jobs[program].frames}: not comparable")
            found[program].append(split)
    return found


def median_split(splits: Sequence[Split]) -> Split:
    """The median of every figure over the rounds, each taken by itself."""

    def middle(values: Sequence[float]) -> float:
        return statistics.median(values)

    fields = ("total", "network", "outside", "planes", "wall", "peak_mb")
    figures: dict[str, Any] = {field: middle([getattr(split, field) for split in splits]) for field in fields}
    figures["parts"] = {name: middle([split.parts[name] for split in splits]) for name in splits[0].parts}
    return dataclasses.replace(splits[0], **figures)


def quotients(medians: Mapping[Program, Split]) -> dict[Program, tuple[float, float]]:
    """How many times rtseg's a program's outside is, and its planes; of those kinds that rtseg is measured in."""
    ours = {program.kind: split for program, split in medians.items() if program.ours}
    return {
        program: (split.outside / ours[program.kind].outside, split.planes / ours[program.kind].planes)
        for program, split in medians.items()
        if not program.ours and program.kind in ours
    }


def markdown(result: Mapping[str, Any]) -> str:
    """The table of `benchmarks/README.md`, and what it was measured on."""
    heads = ("job", "program", "total", "network", "outside", "planes", "outside / rtseg's", "planes / rtseg's")
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    lines += [f"| {' | '.join(row)} |" for row in rows(result)]
    on = result["machine"]
    lines += [
        "",
        f"{result['title']}; {on['cores']} cores of {on['cpu']}, commit {on['commit']}; {result['versions']}.",
    ]
    if result["load"]["warning"]:
        lines += ["", f"Measured on a {result['load']['warning']}"]
    lines += [f"Skipped {name}: {reason}." for name, reason in result["skipped"].items()]
    return "\n".join(lines) + "\n"


def rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The cells of a table, a program each."""
    made = []
    for entry in result["programs"]:
        figures = [f"{entry['median'][name]:.1f}" for name in ("total", "network", "outside", "planes")]
        if not entry["median"]["network"]:
            figures[1] = ""
        ratios = [f"{value:.1f}" for value in entry["quotients"]] or ["", ""]
        made.append([entry["kind"], entry["label"], *figures, *ratios])
    return made


def write_markdown(path: Path, text: str) -> None:
    """Put the table between the marks of a file that has them; ValueError for one that has not."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} lacks the lines {BEGIN.strip()} and {END}")
    path.write_text(before + begin + text + end + after, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    console = Console()
    size = clips.SIZES[options.size]
    folder: Path = options.folder
    clip = clips.clip(folder, size, max(60, options.frames), options.input)
    programs, skipped, pythons = _available(options.only or KINDS, folder)
    models = _models(folder, clip) if any(program.model for program in programs) else {}

    def job(program: Program) -> Job:
        still = f"{program.loop}-{program.things or program.threads}.png"
        return Job(
            clip=str(clip),
            output="",
            frames=options.frames,
            width=size[0],
            height=size[1],
            rate=clips.RATE,
            background=str(clips.picture(folder, size)),
            encoder={},
            model=models.get(program.model, ""),
            still=str(options.stills / still) if options.stills else "",
            threads=program.threads,
            things=program.things,
        )

    if options.stills:
        options.stills.mkdir(parents=True, exist_ok=True)
    with watched() as load:
        found = measure(programs, {p: job(p) for p in programs}, rounds=options.rounds, pythons=pythons)
    medians = {program: median_split(splits) for program, splits in found.items()}
    ratios = quotients(medians)
    title = f"CPU-ms a frame at {options.size}, {options.frames} frames, median of {options.rounds} rounds"
    versions = dict(sorted({item for split in medians.values() for item in split.versions.items()}))
    result = {
        "title": title,
        "machine": machine(),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "load": dataclasses.asdict(load) | {"warning": load.warning},
        "clip": options.input.name if options.input else "sample",
        "programs": [
            dataclasses.asdict(program)
            | {
                "median": dataclasses.asdict(medians[program]),
                "rounds": [dataclasses.asdict(split) for split in found[program]],
                "quotients": ratios.get(program, ()),
            }
            for program in programs
        ],
        "skipped": skipped,
    }
    _show(console, result, medians, ratios)
    if load.warning:
        console.print(load.warning, style="bold yellow", markup=False)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.markdown:
        write_markdown(options.markdown, markdown(result))
    return 0


def _available(kinds: Sequence[str], folder: Path) -> tuple[list[Program], dict[str, str], dict[str, str]]:
    """What can run here, what cannot and why, and the Pythons of loops that need another."""
    skipped: dict[str, str] = {}
    pythons: dict[str, str] = {}
    for kind in kinds:
        if missing := [name for name in NEEDS.get(kind, ()) if find_spec(name) is None]:
            skipped[kind] = f"{missing[0]} is not installed: pip install 'rtseg[segformer]'"
    if "supervision" in kinds:
        try:
            pythons["supervision_masks"] = environment(folder / "supervision", SUPERVISION)
        except (LoopFailed, OSError) as error:
            skipped["supervision"] = str(error)
    chosen = [kind for kind in kinds if kind not in skipped]
    return [program for program in PROGRAMS if program.kind.split()[0] in chosen], skipped, pythons


def _models(folder: Path, clip: Path) -> dict[str, str]:
    from benchmarks.peer_models import segformer

    made = segformer(folder, [picture_of(frame) for frame, _ in list(decode(str(clip), 60))[::20]])
    return {"checkpoint": str(made.checkpoint), "card": str(made.card)}


def _show(
    console: Console,
    result: Mapping[str, Any],
    medians: Mapping[Program, Split],
    ratios: Mapping[Program, tuple[float, float]],
) -> None:
    table = Table(title=result["title"], title_justify="left", box=None, pad_edge=False)
    for heading in ("job", "program"):
        table.add_column(heading, no_wrap=True)
    for heading in ("total", "network", "outside", "planes", "x", "x"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows(result):
        table.add_row(*row)
    console.print(table)
    for program, split in medians.items():
        parts = ", ".join(f"{name} {spent:.1f}" for name, spent in split.parts.items())
        console.print(
            f"{program.kind}, {program.label}: {parts}", style="dim", markup=False, highlight=False, soft_wrap=True
        )
    for program, (outside, _) in ratios.items():
        if program.at_least is not None:
            met = "met" if outside >= program.at_least else "MISSED"
            console.print(f"outside of {program.kind} {program.label} / rtseg's: {outside:.1f}, at least", end=" ")
            console.print(f"{program.at_least:g}: {met}")
    for kind, reason in result["skipped"].items():
        console.print(f"skipped {kind}: {reason}", style="yellow", markup=False)
    console.print("MediaPipe: python -m benchmarks.pipeline")
    console.print(", ".join(f"{key} {value}" for key, value in result["machine"].items()), style="dim", markup=False)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    first, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=first,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", choices=clips.SIZES, default="720p")
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=KINDS, help="one kind, may be given again (default: all)")
    parser.add_argument("--input", type=Path, help="a video; scaled to --size once (default: the built-in sample)")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "benchmarks", help="for clips and environments")
    parser.add_argument("--stills", type=Path, metavar="FOLDER", help="put a picture of each program there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the table between the marks in that file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
