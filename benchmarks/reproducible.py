"""Whether training repeats itself: a recipe run twice from its seed, and once killed half-way and resumed.

    python -m benchmarks.reproducible models/recipes/portrait.toml --steps 200

Compares every logged loss of the first two runs, and every averaged weight of the first and the resumed one, bit by
bit. The third run gets SIGKILL as soon as it has written a checkpoint.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.measure import ROOT, machine
from rtseg.train.checkpoints import average_weights
from rtseg.train.fit import fit
from rtseg.train.run import open_recipe


def main(arguments: Sequence[str] | None = None) -> int:
    about = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproducible", description=about)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help="what teachers said, kept between runs")
    options = parser.parse_args(arguments)
    os.environ.setdefault("RTSEG_SHARED", str(ROOT.parent / "shared"))
    if options.into is not None:
        _train(options.recipe, options.steps, options.into, options.cache)
        return 0
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / name for name in ("first", "second", "killed")]
        cache = options.cache or Path(place) / "teachers"
        common = [sys.executable, "-m", "benchmarks.reproducible", str(options.recipe), "--steps", str(options.steps)]
        commands = [[*common, "--into", str(folder), "--cache", str(cache)] for folder in folders]
        for command in commands[:2]:
            subprocess.run(command, check=True, cwd=ROOT)
        _kill_when_saved(commands[2], folders[2] / "last.safetensors")
        subprocess.run(commands[2], check=True, cwd=ROOT)
        losses = [_losses(folder) for folder in folders[:2]]
        same_loss = len(losses[0]) > 0 and losses[0] == losses[1]
        weights = [average_weights(folders[index] / "last.safetensors") for index in (0, 2)]
        same_weights = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
        print(
            f"{len(losses[0])} logged losses of two runs of {options.steps} steps: {'equal' if same_loss else 'DIFFER'}"
        )
        print(f"{len(weights[0])} tensors after SIGKILL and resuming: {'equal' if same_weights else 'DIFFER'}")
        print(f"{options.recipe.name}, {machine()['cpu']}, commit {machine()['commit'][:12]}")
    return 0 if same_loss and same_weights else 1


def _train(path: Path, steps: int, folder: Path, cache: Path) -> None:
    torch.set_num_threads(1)
    recipe = open_recipe(path, steps=steps)
    schedule = recipe.schedule.model_copy(update={"epoch": max(1, steps // 4)})
    fit(recipe.model_copy(update={"schedule": schedule}), folder, cache=cache, progress=False)


def _kill_when_saved(command: Sequence[str], checkpoint: Path) -> None:
    child = subprocess.Popen(command, cwd=ROOT)
    while not checkpoint.exists():
        if child.poll() is not None:
            sys.exit("the run ended before it wrote a checkpoint")
        time.sleep(0.2)
    time.sleep(3.0)
    child.send_signal(signal.SIGKILL)
    child.wait()


def _losses(folder: Path) -> list[str]:
    with (folder / "csv" / "metrics.csv").open() as file:
        return [row["loss"] for row in csv.DictReader(file) if row["loss"]]


if __name__ == "__main__":
    sys.exit(main())
