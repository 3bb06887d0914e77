"""What one writes first: BGR pictures, a float blend in numpy, ONNX Runtime at one thread, the same network."""

from __future__ import annotations

import av
import cv2
import numpy as np
import onnxruntime as ort

from benchmarks.job import Job, Meter, main
from benchmarks.video import Writer, decode, read_picture


def run(job: Job, meter: Meter) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(job.model, options, providers=["CPUExecutionProvider"])
    tensor = session.get_inputs()[0]
    _, _, height, width = tensor.shape
    blur = job.background == "blur"
    background = None if blur else read_picture(job.background, job.width, job.height)
    meter.versions |= {"av": av.__version__, "opencv": cv2.__version__, "onnxruntime": ort.__version__}

    with Writer(job) as writer:
        meter.start()
        for index, (frame, arrived) in enumerate(decode(job.clip, job.frames)):
            image = frame.to_ndarray(format="bgr24")
            small = cv2.cvtColor(cv2.resize(image, (width, height)), cv2.COLOR_BGR2RGB)
            inputs = (small.astype(np.float32) / 255.0).transpose(2, 0, 1)[None]
            mask = session.run(None, {tensor.name: inputs})[0][0, 0]
            alpha = cv2.resize(mask, (job.width, job.height))[..., None]
            behind = cv2.GaussianBlur(image, (55, 55), 0) if blur else background
            output = (image * alpha + behind * (1.0 - alpha)).astype(np.uint8)
            writer.write(av.VideoFrame.from_ndarray(output, format="bgr24"))
            meter.frame(arrived)
            if job.still and index == job.frames // 2:
                cv2.imwrite(job.still, output)


if __name__ == "__main__":
    main(run)
