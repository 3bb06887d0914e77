"""Mattes beside exact truth: people who move before other footage, rtseg and others, edges, flicker, trails and halos.

    python -m benchmarks.quality                                          all scenes and methods at 640x360
    python -m benchmarks.quality --scenes 8 --methods bare,default,smooth  seconds, once scenes and masks are kept
    python -m benchmarks.quality --size 1280x720 --json out/quality.json --sheet out/quality.png

Scenes and the networks' masks are made once and kept in `--folder`: about 65 MB a scene at 640x360, 4 times that at
1280x720. Needs the footage and labels of RTSEG_SHARED. Networks are timed when their masks are made; what follows them
is timed in every run, all methods in turn at each frame, in one thread; presets of several views with their network.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
from rich.console import Console

from benchmarks import quality_store as kept
from benchmarks.measure import ROOT, machine, watched
from benchmarks.quality_methods import STANDARD, Method, alone, method, painted
from benchmarks.quality_scenes import CHECKED, Scene, Shot, scenes
from benchmarks.quality_scores import GREEN, Scores, Tally, blurred_around, plain_composite, true_composite
from benchmarks.quality_sheet import write_sheet
from benchmarks.quality_tables import result, show
from rtseg.errors import ConfigError, RtsegError
from rtseg.ops.arrays import U8
from rtseg.types import Blur, Regions, Size, Solid

PAINTS: Mapping[str, Solid | Blur] = {"halo_green": Solid(GREEN), "halo_blur": Blur()}


@dataclasses.dataclass
class Judged:
    """What was found of one method. spent: CPU-ms after the network, a frame each; with it, and network_ms 0, where the
    method asks it itself. stills: alpha and composite of one frame of each scene, for the sheet."""  # fmt: skip

    scores: dict[str, Scores] = dataclasses.field(default_factory=dict)
    spent: list[float] = dataclasses.field(default_factory=list)
    network_ms: float = 0.0
    stills: list[U8] = dataclasses.field(default_factory=list)


def judge(shot: Shot, methods: Sequence[Method], masks: Mapping[str, kept.Masks], found: dict[str, Judged]) -> None:
    """Every method on every frame of a shot, all in turn; what was found goes into `found`."""
    tallies = {each.name: Tally(shot) for each in methods}
    for each in methods:
        each.reset()
    for index, frame in enumerate(shot.frames):
        truths = {}
        if index % CHECKED == 0:
            truths = {name: true_composite(shot, index, _behind(shot, index, paint)) for name, paint in PAINTS.items()}
            blurred = painted(frame.rgb, PAINTS["halo_blur"])
        turn = index % len(methods)
        for each in [*methods[turn:], *methods[:turn]]:
            mine = masks[each.network]
            fresh = alone(frame, None if each.looks else mine.size)
            regions = Regions(mine.masks[index][None], ("person",), frame.pts, frame.size)
            before = time.process_time()
            alpha = each(fresh, regions)
            found[each.name].spent.append((time.process_time() - before) * 1e3)
            tally = tallies[each.name]
            tally.add(index, alpha)
            for name, truth in truths.items():
                tally.add_halo(name, index, each.composite(frame, alpha, PAINTS[name]), truth)
            if truths:
                tally.add_halo("halo_plain", index, plain_composite(frame.rgb, alpha, blurred), truths["halo_blur"])
            if index == _shown(shot):
                found[each.name].stills.append(each.composite(frame, alpha, PAINTS["halo_green"]))
    for each in methods:
        found[each.name].scores[shot.name] = tallies[each.name].scores


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=180)
    cv2.setNumThreads(1)
    shared = Path(os.environ.setdefault("RTSEG_SHARED", str(ROOT.parent / "shared")))
    os.environ.setdefault("RTSEG_MODELS", str(shared / "weights"))
    try:
        if not (shared / "data" / "person").is_dir():
            raise ConfigError(f"{shared} has no data/person: set RTSEG_SHARED to the folder of footage and labels")
        methods = [method(name, model=options.model) for name in options.methods]
        chosen = scenes(options.scenes, frames=options.frames)
        with watched() as load:
            found = _run(console, chosen, options.size, methods, shared, options.folder, options.sheet)
    except RtsegError as error:
        console.print(f"error: {error}", style="bold red", markup=False, soft_wrap=True)
        return 1
    settings = {"size": f"{options.size.width}x{options.size.height}", "scenes": len(chosen), "frames": options.frames}
    made = result(settings, machine(), load.warning, {scene.name: scene.motion for scene in chosen}, found)
    show(console, made)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return 0


def _run(
    console: Console,
    chosen: Sequence[Scene],
    size: Size,
    methods: Sequence[Method],
    shared: Path,
    folder: Path,
    sheet: Path | None,
) -> dict[str, Judged]:
    found = {each.name: Judged() for each in methods}
    networks = kept.Networks(sorted({each.network for each in methods}))
    columns: list[tuple[U8, U8]] = []
    costs: dict[str, list[float]] = {}
    for scene in chosen:
        place = kept.place(folder, scene, size)
        shot = kept.shot(place, scene, size, shared)
        masks = {name: kept.masks(place, name, networks, shot) for name in networks.names}
        for name, made in masks.items():
            costs.setdefault(name, []).append(made.cpu_ms)
        judge(shot, methods, masks, found)
        index = _shown(shot)
        truth = true_composite(shot, index, _behind(shot, index, PAINTS["halo_green"]))
        columns.append((shot.frames[index].rgb, truth))
        console.print(f"{scene.name} done", style="dim", markup=False, highlight=False)
    for each in methods:
        found[each.name].network_ms = 0.0 if each.looks else statistics.median(costs[each.network])
    if sheet:
        stills = {name: judged.stills for name, judged in found.items()}
        write_sheet(sheet, [scene.name for scene in chosen], columns, stills)
    return found


def _behind(shot: Shot, index: int, paint: Solid | Blur) -> U8:
    """What is behind the subject in the true composite, RGB."""
    backdrop = shot.backdrops[index // CHECKED]
    match paint:
        case Solid():
            return painted(backdrop, paint)
        case Blur():
            return blurred_around(backdrop, shot.alphas[index], paint.strength / 100.0 * backdrop.shape[0])


def _shown(shot: Shot) -> int:
    """The frame for the sheet: one that is checked, amid the fastest motion."""
    checked = range(CHECKED, len(shot.frames), CHECKED) or range(1)
    return max(checked, key=lambda index: (int(shot.speeds[index].max()), index))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scenes", type=int, default=24, help="how many, from the first (default: 24, all)")
    parser.add_argument("--frames", type=int, default=48, help="of each scene")
    parser.add_argument("--size", type=_size, default=Size(640, 360), help="640x360 (default) or 1280x720")
    parser.add_argument("--methods", type=_names, default=STANDARD, help=f"with commas (default: {','.join(STANDARD)})")
    parser.add_argument("--model", default="portrait", help="ours, where a method names none")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rtseg-quality")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path, help="a PNG: scenes by methods, before green")
    return parser.parse_args(arguments)


def _size(text: str) -> Size:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) % 4 == int(height) % 4 == 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write WIDTHxHEIGHT, multiples of 4, such as 640x360")
    return Size(int(width), int(height))


def _names(text: str) -> tuple[str, ...]:
    # Commas inside of brackets part options.
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


if __name__ == "__main__":
    sys.exit(main())
