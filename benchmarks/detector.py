"""What follows a detector's network, from its tensors to instances and to the picture: at most 6 ms for 100 of them.

    python -m benchmarks.detector [--rounds 40]

The tensors of a YOLO at 640 x 640 (1 x 116 x 8400 and 1 x 32 x 160 x 160) with 1, 20 and 100 things in a frame of
1280 x 720, each seen by nine cells; "full" has 100 boxes that cover nearly all of the frame, the most that can be. One
thread; wall and CPU milliseconds, medians of rounds that take all in turn. The overlay has no legend.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import machine, watched
from benchmarks.shapes import CLASSES, COEFFICIENTS, Detections, detections, things
from rtseg.cards import Card
from rtseg.compositor import Compositor
from rtseg.ops.tensors import Window
from rtseg.registry import load
from rtseg.types import Frame

SIZE, SIDE, LIMIT = (1280, 720), 640, 6.0
COUNTS = {"1": 1, "20": 20, "100": 103}  # of 103, three lose all their cells to others
Outputs = Mapping[str, NDArray[Any]]


class Silent:
    """An engine that is never run."""

    providers = ("cpu",)

    def __init__(self) -> None:
        self.inputs = {"images": np.zeros((1, 3, SIDE, SIDE), np.float32)}

    def run(self) -> Outputs:  # noqa: D102 - see BoundEngine
        raise NotImplementedError

    def __call__(self, inputs: Outputs) -> Outputs:  # noqa: D102
        raise NotImplementedError


def detector(size: tuple[int, int]) -> tuple[Any, Window]:
    """The segmenter for such tensors, and the part of its input that a frame of `size` (width, height) fills."""
    card = Card.model_validate(
        {
            "name": "detector",
            "description": "For benchmarks.",
            "family": "yolo",
            "file": "detector.onnx",
            "sha256": "0" * 64,
            "licence": "none",
            "source": "none",
            "names": [f"class {index}" for index in range(CLASSES)],
            "input": {"name": "images", "size": (SIDE, SIDE), "fit": "letterbox"},
            "outputs": [{"name": "output0"}, {"name": "output1"}],
        }
    )
    scale = SIDE / max(size)
    width, height = round(size[0] * scale), round(size[1] * scale)
    window = Window((SIDE - width) // 2, (SIDE - height) // 2, width, height)
    return load("segmenter", "yolo")(card, Silent()), window


def outputs_of(made: Detections) -> Outputs:
    """By the names of the card."""
    return {"output0": made.rows, "output1": made.protos}


def scenes() -> dict[str, Outputs]:
    """Tensors by what is in them."""
    made = {}
    for name, count in COUNTS.items():
        found = things(count, SIZE)
        made[name] = outputs_of(detections(found._replace(labels=found.labels % CLASSES), SIZE))
    chance = np.random.default_rng(0)
    rows = made["1"]["output0"].copy()
    rows[0, 4 : 4 + CLASSES] = 0
    cells = np.arange(100)
    rows[0, :4, cells] = SIDE / 2, SIDE / 2, SIDE, SIDE
    rows[0, 4 + cells % CLASSES, cells] = 0.9
    rows[0, 2:4, cells[CLASSES:]] *= 0.8  # the second of a class overlaps the first by less than is suppressed
    rows[0, 4 + CLASSES :, cells] = chance.normal(0, 1, (100, COEFFICIENTS))
    made["full"] = {**made["1"], "output0": rows}
    return made


class Spent(NamedTuple):
    """Milliseconds."""

    wall: float
    cpu: float


def timed(into: list[Spent], call: Callable[..., Any], *arguments: Any) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call(*arguments)
    into.append(Spent(1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detector", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    segmenter, window = detector(SIZE)
    overlay, compositor = load("effect", "overlay")(legend=False), Compositor()
    grey = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    frame = Frame.from_rgb(grey)
    spent: dict[tuple[str, str], list[Spent]] = {}
    counts: dict[str, tuple[int, int]] = {}
    made = scenes()
    with watched() as load_average:
        for _ in range(options.rounds + 2):
            for name, outputs in made.items():
                read, draw, blend = (spent.setdefault((name, stage), []) for stage in ("read", "overlay", "composite"))
                found = timed(read, segmenter.read, outputs, window, frame)
                layers = timed(draw, overlay, frame, found, ())
                timed(blend, compositor, frame, layers)
                counts[name] = len(found.scores), len(layers)
    print("| things | instances | tensors to instances, wall | CPU | layers | overlay, CPU | composite, CPU |")
    print("|---|" + "---:|" * 6)
    for name, (instances, tints) in counts.items():
        post, tint, whole = (_middle(spent[name, stage][2:]) for stage in ("read", "overlay", "composite"))
        cells = (instances, f"{post.wall:.2f}", f"{post.cpu:.2f}", tints, f"{tint.cpu:.2f}", f"{whole.cpu:.2f}")
        print(f"| {name} | " + " | ".join(map(str, cells)) + " |")
    slowest = _middle(spent["100", "read"][2:]).cpu
    print(f"\n100 things: {slowest:.2f} CPU-ms, at most {LIMIT:g}: {'met' if slowest <= LIMIT else 'MISSED'}")
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    if load_average.warning:
        print(load_average.warning)
    return 0 if slowest <= LIMIT else 1


def _middle(rounds: Sequence[Spent]) -> Spent:
    return Spent(statistics.median(r.wall for r in rounds), statistics.median(r.cpu for r in rounds))


if __name__ == "__main__":
    sys.exit(main())
