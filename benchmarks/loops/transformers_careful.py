"""transformers with care: classes chosen at the network's own resolution, enlarged as bytes, tinted by OpenCV.

What one writes after a look at a profile of `transformers_pipeline`. Borders between classes come in steps.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
import transformers

from benchmarks.job import Job
from benchmarks.shapes import colours
from benchmarks.split import SplitMeter, main
from benchmarks.video import planes_of, read_frames, save_still


def run(job: Job, meter: SplitMeter) -> None:
    cv2.setNumThreads(1)
    if job.threads:
        torch.set_num_threads(job.threads)
    library: Any = transformers
    processor = library.AutoImageProcessor.from_pretrained(job.model)
    model = library.SegformerForSemanticSegmentation.from_pretrained(job.model).eval()
    model.forward = meter.timed(model.forward)
    palette = np.array(colours(model.config.num_labels), np.uint8)
    meter.versions |= {"torch": torch.__version__, "transformers": transformers.__version__}
    for index, frame in read_frames(job):
        with meter.frame(counted=index >= 0):
            with meter.part("unpack"):
                image: Any = frame.to_ndarray(format="rgb24")
            with meter.part("preprocess"):
                inputs = processor(images=image, return_tensors="pt")
            with torch.inference_mode():
                logits = model(**inputs).logits
                with meter.part("classes"):
                    small = logits[0].argmax(dim=0).numpy().astype(np.uint8)
            with meter.part("tint"):
                labels = cv2.resize(small, (job.width, job.height), interpolation=cv2.INTER_NEAREST)
                picture: Any = cv2.addWeighted(image, 0.5, palette[labels], 0.5, 0)
            with meter.part("pack"):
                planes_of(picture, "rgb24")
        save_still(job, index, picture[..., ::-1])


if __name__ == "__main__":
    main(run)
