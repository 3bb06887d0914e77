"""supervision's annotators on instance masks: MaskAnnotator, then LabelAnnotator; BGR as OpenCV gives it.

Runs in an environment of its own and imports nothing of rtseg.
"""

from __future__ import annotations

from typing import Any

import cv2
import supervision as sv

from benchmarks.job import Job
from benchmarks.shapes import colours, things
from benchmarks.split import SplitMeter, main
from benchmarks.video import planes_of, read_frames, save_still


def run(job: Job, meter: SplitMeter) -> None:
    cv2.setNumThreads(job.threads)
    found = things(job.things, (job.width, job.height))
    detections = sv.Detections(xyxy=found.boxes, mask=found.masks, class_id=found.labels, confidence=found.scores)
    palette = sv.ColorPalette([sv.Color(*rgb) for rgb in colours(job.things)])
    masks, labels = sv.MaskAnnotator(color=palette, opacity=0.5), sv.LabelAnnotator(color=palette)
    names = [f"class {label} {score:.2f}" for label, score in zip(found.labels, found.scores, strict=True)]
    meter.versions |= {"supervision": sv.__version__}
    for index, frame in read_frames(job):
        with meter.frame(counted=index >= 0):
            with meter.part("unpack"):
                image: Any = frame.to_ndarray(format="bgr24")
            with meter.part("masks"):
                image = masks.annotate(scene=image, detections=detections)
            with meter.part("labels"):
                image = labels.annotate(scene=image, detections=detections, labels=names)
            with meter.part("pack"):
                planes_of(image, "bgr24")
        save_still(job, index, image)


if __name__ == "__main__":
    main(run, network=False)
