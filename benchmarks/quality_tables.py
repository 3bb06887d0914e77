"""The result of `benchmarks.quality` as data and as tables."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.quality_scores import FIGURES, SPEEDS, Scores, mean_scores

if TYPE_CHECKING:
    from benchmarks.quality import Judged

_HEADS = {
    "mad": "MAD",
    "mse": "MSE",
    "grad": "Grad",
    "conn": "Conn",
    "boundary": "F",
    "dtssd": "dtSSD",
    "flicker": "flicker",
    "trail": "trail",
    "miss": "miss",
    "halo_green": "halo green",
    "halo_blur": "blur",
    "halo_plain": "plain",
}

_GOALS = ("MAD", "MSE", "Grad", "Conn", "dtSSD", "flicker", "trail", "fastest", "halo green", "blur to plain", "F")


def result(
    settings: Mapping[str, Any],
    on: Mapping[str, Any],
    warning: str | None,
    motions: Mapping[str, str],
    found: Mapping[str, Judged],
) -> dict[str, Any]:
    """What `--json` writes. motions: scene -> motion."""
    names = list(dict.fromkeys(motions.values()))
    return {
        "settings": dict(settings),
        "machine": dict(on),
        "warning": warning,
        "speeds": list(SPEEDS),
        "methods": [
            {
                "name": name,
                "network_ms": round(each.network_ms, 3),
                "after_ms": round(statistics.median(each.spent), 3),
                "total": _values(mean_scores(each.scores.values())),
                "motions": {
                    motion: _values(mean_scores(s for scene, s in each.scores.items() if motions[scene] == motion))
                    for motion in names
                },
                "scenes": {scene: _values(scores) for scene, scores in each.scores.items()},
            }
            for name, each in found.items()
        ],
    }


def show(console: Console, made: Mapping[str, Any]) -> None:
    """Everything as tables: in total, by speed, and for each motion the figures that differ most."""
    settings = made["settings"]
    title = f"{settings['scenes']} scenes of {settings['frames']} frames at {settings['size']}"
    methods = made["methods"]
    total = _table(f"{title}: means over scenes; less is better but for F", ("", *_HEADS.values(), "network", "after"))
    for each in methods:
        costs = [f"{each['network_ms']:.2f}", f"{each['after_ms']:.2f}"]
        total.add_row(each["name"], *(_cell(each["total"][name], name) for name in FIGURES), *costs)
    console.print(total)
    against = _table(f"against {methods[0]['name']}", ("", *_GOALS))
    for each in methods[1:]:
        against.add_row(each["name"], *_compared(each["total"], methods[0]["total"]))
    if len(methods) > 1:
        console.print(against)
    bins = [f"{low:.0f}-{high:.0f}" for low, high in pairwise(SPEEDS)]
    speeds = _table("trail / miss by speed, pixels a frame at 1280 wide", ("", *bins))
    for each in methods:
        pairs = zip(each["total"]["trail_speeds"], each["total"]["miss_speeds"], strict=True)
        speeds.add_row(each["name"], *(f"{_cell(trail, 'trail')} / {_cell(miss, 'miss')}" for trail, miss in pairs))
    console.print(speeds)
    for figure in ("mad", "boundary", "dtssd", "flicker", "halo_green"):
        motions = list(methods[0]["motions"])
        part = _table(f"{_HEADS[figure]} by motion", ("", *motions))
        for each in methods:
            part.add_row(each["name"], *(_cell(each["motions"][motion][figure], figure) for motion in motions))
        console.print(part)
    on = made["machine"]
    console.print(
        "MAD, MSE, flicker, trail, miss x1000; Grad, Conn /1000; dtSSD x100; halo in levels; network, after: CPU-ms a "
        f"frame, one thread of {on['cpu']}, commit {str(on['commit'])[:12]}",
        style="dim",
        markup=False,
        highlight=False,
    )
    if made["warning"]:
        console.print(made["warning"], style="bold yellow", markup=False)


def _table(title: str, heads: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for index, head in enumerate(heads):
        table.add_column(head, justify="right" if index else "left", no_wrap=True)
    return table


def _compared(found: Mapping[str, Any], first: Mapping[str, Any]) -> list[str]:
    """Shares of the first method's figures; of boundary F the difference."""
    pairs = [(found[name], first[name]) for name in ("mad", "mse", "grad", "conn")]
    pairs += [(found[name], first[name]) for name in ("dtssd", "flicker", "trail")]
    pairs += [(found["trail_speeds"][-1], first["trail_speeds"][-1])]
    pairs += [(found["halo_green"], first["halo_green"]), (found["halo_blur"], first["halo_plain"])]
    shares = ["-" if not (a is not None and b) else f"{100 * (a / b - 1):+.0f} %" for a, b in pairs]
    return [*shares, f"{found['boundary'] - first['boundary']:+.3f}"]


def _values(scores: Scores) -> dict[str, Any]:
    def rounded(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return [rounded(each) for each in value]
        return None if value is None else round(value, 5)

    return {name: rounded(value) for name, value in dataclasses.asdict(scores).items()}


def _cell(value: float | None, figure: str) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if figure in ("boundary", "flicker") else f"{value:.2f}"
