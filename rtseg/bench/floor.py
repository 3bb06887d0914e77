"""What nobody can avoid: decode the input and encode the finished pictures, with nothing in between.

The composited frames are those that rtseg made of the same clip, kept as I420 in a file. Fetching one from there is
left out of the count. The encoder gets that memory as it is (libx264 keeps a copy of its own, so it can be reused).
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from rtseg.bench.job import Job, Meter, main
from rtseg.bench.video import Writer, decode


def run(job: Job, meter: Meter) -> None:
    """Decode and encode, by PyAV alone: nothing of rtseg may make this slower."""
    picture = np.empty((job.height * 3 // 2, job.width), np.uint8)
    meter.versions["av"] = av.__version__
    with Path(job.composited).open("rb") as composited, Writer(job) as writer:
        meter.start()
        for _, arrived in decode(job.clip, job.frames):
            with meter.excluded():
                if composited.readinto(picture.data.cast("B")) != picture.nbytes:
                    raise EOFError(f"{job.composited} ends before frame {job.frames}")
            writer.write(av.VideoFrame.from_numpy_buffer(picture, format="yuv420p"))
            meter.frame(arrived)


if __name__ == "__main__":
    main(run)
