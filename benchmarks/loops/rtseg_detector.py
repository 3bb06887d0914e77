"""rtseg's post-processing of the tensors of `detector_masks`, and its masks at the frame's size, which it never makes.

What a run has are the instances: their masks stay small until they are drawn. "masks" is there so that both programs
end with the same.
"""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.detector import detector, outputs_of
from benchmarks.job import Job
from benchmarks.shapes import colours, detections, things
from benchmarks.split import SplitMeter, main
from benchmarks.video import save_still
from rtseg.ops.resize import enlarge
from rtseg.types import Frame


def run(job: Job, meter: SplitMeter) -> None:
    cv2.setNumThreads(1)
    size = (job.width, job.height)
    outputs = outputs_of(detections(things(job.things, size), size))
    segmenter, window = detector(size)
    frame = Frame.from_rgb(np.zeros((job.height, job.width, 3), np.uint8))
    masks = np.empty((job.things, job.height, job.width), np.uint8)
    meter.versions |= {"opencv": cv2.__version__}
    for index in range(-2, job.frames):
        with meter.frame(counted=index >= 0):
            with meter.part("instances"):
                found = segmenter.read(outputs, window, frame)
            with meter.part("masks"):
                for small, mask in zip(found.masks, masks, strict=True):
                    enlarge(small, size, out=mask)
                hard = masks > 127
    shown = np.zeros((job.height, job.width, 3), np.uint8)
    for cover, label in zip(hard, found.labels, strict=True):
        shown[cover] = colours(job.things)[int(label)]
    save_still(job, job.frames - 1, cv2.cvtColor(shown, cv2.COLOR_RGB2BGR).astype(np.uint8))


if __name__ == "__main__":
    main(run, network=False)
