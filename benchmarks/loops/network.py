"""The network alone: ONNX Runtime at one thread in a tight loop, on inputs made of the clip's own frames."""

from __future__ import annotations

import time

import av
import cv2
import numpy as np
import onnxruntime as ort

from benchmarks.job import Job, Meter, main
from benchmarks.video import decode

_DISTINCT = 32


def run(job: Job, meter: Meter) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(job.model, options, providers=["CPUExecutionProvider"])
    tensor = session.get_inputs()[0]
    _, _, height, width = tensor.shape
    pictures = [frame.to_ndarray(format="rgb24") for frame, _ in decode(job.clip, min(job.frames, _DISTINCT))]
    small = [cv2.resize(picture, (width, height)).astype(np.float32) / np.float32(255) for picture in pictures]
    inputs = [np.ascontiguousarray(picture.transpose(2, 0, 1)[None]) for picture in small]
    binding = session.io_binding()
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    for array in inputs[:5]:
        session.run(None, {tensor.name: array})
    meter.versions |= {"av": av.__version__, "onnxruntime": ort.__version__}

    meter.start()
    for index in range(job.frames):
        arrived = time.monotonic()
        binding.bind_cpu_input(tensor.name, inputs[index % len(inputs)])
        session.run_with_iobinding(binding)
        meter.frame(arrived)


if __name__ == "__main__":
    main(run)
