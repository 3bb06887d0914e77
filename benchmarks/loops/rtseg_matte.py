"""rtseg's own background replacement, planes to planes: the portrait model, its default filters, a picture behind."""

from __future__ import annotations

import cv2
import onnxruntime as ort

from benchmarks.job import Job
from benchmarks.loops.rtseg import pipeline_of, read_frames, split
from benchmarks.split import SplitMeter, main
from benchmarks.video import save_still


def run(job: Job, meter: SplitMeter) -> None:
    pipeline = pipeline_of(job)
    split(pipeline, meter)
    meter.versions |= {"onnxruntime": ort.__version__, "opencv": cv2.__version__}
    for index, frame in read_frames(job):
        with meter.frame(counted=index >= 0):
            output = pipeline(frame)
        save_still(job, index, output.picture.bgr)


if __name__ == "__main__":
    main(run)
