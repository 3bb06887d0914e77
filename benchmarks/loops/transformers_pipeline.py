"""transformers as its documentation uses it: `pipeline("image-segmentation")`, masks tinted over the picture in numpy.

The tint is that of the semantic segmentation guide, with the pipeline's masks in place of one comparison a class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.job import Job
from benchmarks.shapes import colours
from benchmarks.split import SplitMeter, main
from benchmarks.video import picture_of, planes_of, read_frames, save_still


def run(job: Job, meter: SplitMeter) -> None:
    if job.threads:
        torch.set_num_threads(job.threads)
    segment: Any = transformers.pipeline("image-segmentation", model=job.model)
    segment.model.forward = meter.timed(segment.model.forward)
    segment.preprocess = meter.timed(segment.preprocess, "preprocess")
    segment.postprocess = meter.timed(segment.postprocess, "classes")
    palette = dict(zip(segment.model.config.id2label.values(), colours(segment.model.config.num_labels), strict=True))
    meter.versions |= {"torch": torch.__version__, "transformers": transformers.__version__}
    for index, frame in read_frames(job):
        with meter.frame(counted=index >= 0):
            with meter.part("unpack"):
                image = picture_of(frame)
            found = segment(image)
            with meter.part("tint"):
                tint = np.zeros((image.height, image.width, 3), np.uint8)
                for each in found:
                    tint[np.array(each["mask"]) > 0] = palette[each["label"]]
                picture = (np.array(image) * 0.5 + tint * 0.5).astype(np.uint8)
            with meter.part("pack"):
                planes_of(picture, "rgb24")
        save_still(job, index, picture[..., ::-1])


if __name__ == "__main__":
    main(run)
