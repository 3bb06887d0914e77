"""What the GStreamer element costs beside a loop of rtseg's own over the same frames, in CPU-ms a frame.

python -m benchmarks.element CLIP.mp4 [--background blur] [--frames 300] [--rounds 5]

Three programs follow each other in each round: GStreamer decodes; it decodes and the element works; PyAV decodes and
`rtseg.load_pipeline` works. The start of each is taken off by running it once more with a tenth of the frames.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys

LOOP = """
import sys, cv2, rtseg
cv2.setNumThreads(1)
path, background, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
pipeline = rtseg.load_pipeline(background=background)
from rtseg.sources.video import VideoFile as VideoFile
source = VideoFile(path, threads=1)
for frame in source:
    pipeline(frame)
    if frame.index + 1 == count:
        break
source.close()
"""


def programs(clip: str, background: str, frames: int) -> dict[str, list[str]]:
    """The commands, each over so many frames."""
    # eos-after counts events too, so that the element has a few frames more or less: the same in both runs of a round.
    decode = f"filesrc location={clip} ! qtdemux ! h264parse ! avdec_h264 max-threads=1 ! identity eos-after={frames}"
    element = f"{decode} ! rtseg background={background} ! fakesink"
    return {
        "decode": ["gst-launch-1.0", "-q", *f"{decode} ! fakesink".split()],
        "element": ["gst-launch-1.0", "-q", *element.split()],
        "loop": [sys.executable, "-c", LOOP, clip, background, str(frames)],
    }


def seconds(command: list[str]) -> float:
    """CPU time of a program, all threads."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PATH": os.environ["PATH"] if command[0] == sys.executable else "/usr/bin:/bin"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip")
    parser.add_argument("--background", default="blur")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    few = options.frames // 10
    costs: dict[str, list[float]] = {"decode": [], "element": [], "loop": []}
    for _ in range(options.rounds):
        long, short = (programs(options.clip, options.background, count) for count in (options.frames, few))
        for name, figures in costs.items():
            figures.append((seconds(long[name]) - seconds(short[name])) / (options.frames - few) * 1e3)
    for name, figures in costs.items():
        print(f"{name:8} {statistics.median(figures):6.2f} CPU-ms a frame")
    ratios = [element / loop for element, loop in zip(costs["element"], costs["loop"], strict=True)]
    print(f"element / loop {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
