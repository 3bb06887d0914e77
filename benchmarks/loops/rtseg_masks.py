"""rtseg's overlay on the instance masks of `supervision_masks`, at full size, with its legend in place of labels."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.job import Job
from benchmarks.loops.rtseg import read_frames
from benchmarks.shapes import colours, things
from benchmarks.split import SplitMeter, main
from benchmarks.video import save_still
from rtseg.compositor import Compositor
from rtseg.registry import load
from rtseg.types import Instances


def run(job: Job, meter: SplitMeter) -> None:
    cv2.setNumThreads(1)
    found = things(job.things, (job.width, job.height))
    masks = np.negative(found.masks.view(np.uint8))
    names = tuple(f"class {index}" for index in range(job.things))
    overlay = load("effect", "overlay")(palette=dict(zip(names, colours(job.things), strict=True)), opacity=0.5)
    compositor = Compositor()
    meter.versions |= {"opencv": cv2.__version__}
    for index, frame in read_frames(job):
        with meter.frame(counted=index >= 0):
            with meter.part("effect"):
                seen = Instances(masks, found.boxes, found.labels, found.scores, names, frame.pts, frame.size)
                layers = overlay(frame, seen, ())
            with meter.part("composite"):
                picture = compositor(frame, layers)
        save_still(job, index, picture.bgr)


if __name__ == "__main__":
    main(run, network=False)
