"""How a frame that is not 16:9 should be given to a matte: stretched, letterboxed or cropped.

    python -m benchmarks.aspect [--model portrait]

Held-back pictures of people, cut to 9:16 and 4:3 about the person; IoU and boundary F at the picture's own size. A
crop knows nothing of what it leaves out, which then counts as background.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.measure import ROOT, machine
from rtseg import store
from rtseg.cards import Card
from rtseg.config import ModelOptions
from rtseg.datasets import DataSet, Sample
from rtseg.engines import build_segmenter
from rtseg.evaluate.metrics import boundary_f, count
from rtseg.evaluate.plan import make_plan
from rtseg.frame import Frame
from rtseg.ops.arrays import U8
from rtseg.ops.resize import enlarge
from rtseg.results import masks_of

ASPECTS = {"16:9": 16 / 9, "4:3": 4 / 3, "9:16": 9 / 16}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aspect", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="portrait")
    options = parser.parse_args(arguments)
    os.environ.setdefault("RTSEG_SHARED", str(ROOT.parent / "shared"))
    card = store.find_card(options.model)
    sets = make_plan([ROOT / "benchmarks" / "eval" / "portrait.toml"], [card]).data
    sets = tuple(data for data in sets if data.title in ("web", "fashion"))
    print(
        f"| {card.name} | " + " | ".join(f"{name}, IoU / boundary F" for name in ASPECTS) + " |\n|---|---:|---:|---:|"
    )
    for fit in ("stretch", "letterbox", "crop"):
        cells = [_score(card, fit, sets, aspect) for aspect in ASPECTS.values()]
        print(f"| {fit} | " + " | ".join(f"{iou:.3f} / {edge:.3f}" for iou, edge in cells) + " |")
    print(f"\n{machine()['cpu']}, commit {machine()['commit'][:12]}")
    return 0


def _score(card: Card, fit: str, sets: Sequence[DataSet], aspect: float) -> tuple[float, float]:
    changed = card.input.model_copy(update={"fit": "letterbox" if fit == "letterbox" else "stretch"})
    segment = build_segmenter(ModelOptions(name=card.name), card.model_copy(update={"input": changed}))
    found: list[tuple[float, float]] = []
    for data in sets:
        for stem in data.stems("held_out"):
            sample = _cut(data.read(stem), aspect)
            height, width = sample.known.shape
            y0, y1, x0, x1 = _inner(width, height) if fit == "crop" else (0, height, 0, width)
            result = segment(Frame.from_rgb(np.ascontiguousarray(sample.rgb[y0:y1, x0:x1])))
            mask = np.zeros((height, width), np.uint8)
            mask[y0:y1, x0:x1] = enlarge(masks_of(result)["person"], (x1 - x0, y1 - y0))
            truth, known = sample.planes["person"] > 127, sample.known > 0
            found.append((count(truth, mask > 127, known).iou, boundary_f(truth, mask > 127, known)))
    return statistics.mean(iou for iou, _ in found), statistics.mean(edge for _, edge in found)


def _inner(width: int, height: int) -> tuple[int, int, int, int]:
    """The middle of a picture at 16:9: y0, y1, x0, x1."""
    wide, tall = min(width, round(height * 16 / 9)), min(height, round(width * 9 / 16))
    x, y = (width - wide) // 2, (height - tall) // 2
    return y, y + tall, x, x + wide


def _cut(sample: Sample, aspect: float) -> Sample:
    """The largest part of a picture with an aspect, about the person."""
    height, width = sample.known.shape
    wide, tall = min(width, round(height * aspect)), min(height, round(width / aspect))
    ys, xs = np.nonzero(sample.planes["person"] > 127)
    middle = (float(xs.mean()), float(ys.mean())) if len(xs) else (width / 2, height / 2)
    x = int(np.clip(round(middle[0] - wide / 2), 0, width - wide))
    y = int(np.clip(round(middle[1] - tall / 2), 0, height - tall))

    def part(plane: U8) -> U8:
        return np.ascontiguousarray(plane[y : y + tall, x : x + wide])

    planes = {name: part(plane) for name, plane in sample.planes.items()}
    return Sample(sample.stem, part(sample.rgb), planes, part(sample.known))


if __name__ == "__main__":
    sys.exit(main())
