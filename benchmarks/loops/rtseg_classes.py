"""rtseg with the weights of `transformers_pipeline`: a semantic model, an overlay of every class, planes to planes."""

from __future__ import annotations

from pathlib import Path

import cv2
import onnxruntime as ort

from benchmarks.job import Job
from benchmarks.loops.rtseg import read_frames, split
from benchmarks.shapes import colours
from benchmarks.split import SplitMeter, main
from benchmarks.video import save_still
from rtseg.cards import read_card
from rtseg.inference.engine import OrtEngine
from rtseg.pipeline import Pipeline
from rtseg.registry import load


def run(job: Job, meter: SplitMeter) -> None:
    card = read_card(Path(job.model))
    engine = OrtEngine(Path(job.model).with_name(card.file), threads=job.threads or 1)
    palette = dict(zip(card.names, colours(len(card.names)), strict=True))
    overlay = load("effect", "overlay")(palette=palette, opacity=0.5, legend=False)
    pipeline = Pipeline(load("segmenter", card.family)(card, engine), effects=[overlay])
    split(pipeline, meter)
    meter.versions |= {"onnxruntime": ort.__version__, "opencv": cv2.__version__}
    for index, frame in read_frames(job):
        with meter.frame(counted=index >= 0):
            output = pipeline(frame)
        save_still(job, index, output.picture.bgr)


if __name__ == "__main__":
    main(run)
