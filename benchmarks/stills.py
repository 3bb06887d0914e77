"""How far the live way is from the exact one: python -m benchmarks.stills MODEL PICTURE_OR_FOLDER...

Live frames are resized by halving and get a class for each pixel of the network's output; `rtseg.segment` resizes as
PIL does and takes the best class at the picture's size. Shares of pixels with another class, and CPU-ms a picture.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import rtseg
from rtseg.exact import ExactScores
from rtseg.loading import load_picture
from rtseg.ops.tensors import best_class
from rtseg.segmenting import ImageSegmenter
from rtseg.sources.images import ImageFiles

MOST = 50


def main(model: str, paths: list[Path]) -> None:
    segmenter, pipeline = ImageSegmenter(model), rtseg.load_pipeline(model=model)
    exact = segmenter._exact
    if not isinstance(exact, ExactScores):
        sys.exit(f"{model} is no semantic model that is fed by stretching")
    files = ImageFiles(paths).paths
    rows: list[list[float]] = []
    for path in files[:: max(1, len(files) // MOST)][:MOST]:
        picture = load_picture(path)
        size = (picture.shape[1], picture.shape[0])
        frame = rtseg.Frame.from_rgb(picture)
        scores, network = _timed(lambda p=picture: exact.scores(p))  # type: ignore[misc]
        (full, _), best = _timed(lambda s=scores, z=size: best_class(s, size=z))  # type: ignore[misc]
        output, live = _timed(lambda f=frame: pipeline(f))  # type: ignore[misc]
        small, _ = best_class(scores)
        shown = output.segmentation.labels
        enlarged = [cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST) for labels in (shown, small)]
        differences = [(enlarged[0] != full).mean(), (shown != small).mean(), (enlarged[1] != full).mean()]
        rows.append([*(100 * float(d) for d in differences), 1e3 * (network + best), 1e3 * live])
    found = np.array(rows)
    means, costs = found[:, :3].mean(axis=0), np.median(found[:, 3:], axis=0)
    print(f"{model}, {len(rows)} pictures: {means[0]:.1f} % of the pixels have another class")
    print(f"of the resize alone {means[1]:.1f} %, of the size at which the best is taken {means[2]:.1f} %")
    print(f"exact {costs[0]:.1f} CPU-ms, live {costs[1]:.1f}")


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.process_time()
    found = work()
    return found, time.process_time() - begun


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], [Path(path) for path in sys.argv[2:]])
