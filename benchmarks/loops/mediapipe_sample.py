"""The loop of MediaPipe's own documentation of its selfie segmentation, at files instead of a camera and a window.

Steps and numbers are those of the sample: landscape model, BGR to RGB and back, threshold 0.1 on a stacked mask,
`np.where`; the background is a picture or the sample's 55 x 55 Gaussian blur. The sample's mirror flip is left out.
Needs mediapipe 0.10.21, which wants numpy 1: runs in an environment of its own and imports nothing of rtseg.
"""

from __future__ import annotations

import av
import cv2
import mediapipe as mp
import numpy as np

from benchmarks.job import Job, Meter, main
from benchmarks.video import Writer, decode, read_picture


def run(job: Job, meter: Meter) -> None:
    blur = job.background == "blur"
    background = np.empty(0) if blur else read_picture(job.background, job.width, job.height)
    meter.versions |= {"av": av.__version__, "opencv": cv2.__version__, "mediapipe": mp.__version__}
    with mp.solutions.selfie_segmentation.SelfieSegmentation(model_selection=1) as segmentation, Writer(job) as writer:
        segmentation.process(np.zeros((job.height, job.width, 3), np.uint8))  # the graph starts at its first picture
        meter.start()
        for index, (frame, arrived) in enumerate(decode(job.clip, job.frames)):
            image = cv2.cvtColor(frame.to_ndarray(format="bgr24"), cv2.COLOR_BGR2RGB)
            image.flags.writeable = False  # as in the sample: passed by reference
            results = segmentation.process(image)
            image.flags.writeable = True
            image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            condition = np.stack((results.segmentation_mask,) * 3, axis=-1) > 0.1
            behind = cv2.GaussianBlur(image, (55, 55), 0) if blur else background
            output = np.where(condition, image, behind)
            writer.write(av.VideoFrame.from_ndarray(output, format="bgr24"))
            meter.frame(arrived)
            if job.still and index == job.frames // 2:
                cv2.imwrite(job.still, output)


if __name__ == "__main__":
    main(run)
