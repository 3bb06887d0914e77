"""What it costs that the picture follows the subject.

    python -m benchmarks.framing [--rounds 5]

Twenty seconds of 1280 x 720 at 30 frames a second through `portrait` with a blurred background: the sample's person,
made small, on grey, stands for six seconds, walks for four and stands again. With `--framing head` and without, frame
by frame in turn, one thread. CPU milliseconds a frame: medians over the frames of each kind and over the rounds.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections import defaultdict
from fractions import Fraction

import numpy as np

from benchmarks.measure import machine, watched
from rtseg.api import load_pipeline
from rtseg.sources.sample import Sample
from rtseg.types import Colour, Frame

SIZE = 1280, 720
RATE, SECONDS = 30, 20


def frames() -> list[Frame]:
    """The sample as a small picture that crosses a grey frame between the sixth second and the tenth."""
    small = [frame.rgb for frame in itertools.islice(Sample(seconds=2.0, size=(640, 360)), 60)]
    made = []
    for i in range(RATE * SECONDS):
        way = min(1.0, max(0.0, (i / RATE - 6) / 4))
        left = 2 * round(way * (SIZE[0] - 640) / 2)
        rgb = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
        rgb[360:, left : left + 640] = small[i % 60]
        made.append(Frame.from_rgb(rgb, colour=Colour("bt709"), index=i, pts=i, time_base=Fraction(1, RATE)))
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(arguments).rounds
    clip = frames()
    spent: dict[tuple[str, str], list[float]] = defaultdict(list)
    with watched() as load:
        for _ in range(rounds):
            pipelines = {
                "without": load_pipeline(background="blur"),
                "with": load_pipeline(background="blur", framing="head"),
            }
            before: tuple[float, ...] | None = None
            for frame in clip:
                took: dict[str, float] = {}
                for name, pipeline in pipelines.items() if frame.index % 2 else reversed(pipelines.items()):
                    alone = frame.at()  # nobody has what the other made of it
                    started = time.process_time()
                    output = pipeline(alone)
                    took[name] = (time.process_time() - started) * 1e3
                    if output.window is not None:
                        window = output.window
                kind = "whole" if window == (0, 0, *SIZE) else "rests" if window == before else "glides"
                before = window
                for name, milliseconds in took.items():
                    spent[kind, name].append(milliseconds)
    print(f"{'window':<8}{'frames':>8}{'without':>10}{'with':>8}{'more':>8}")
    every = {"without": 0.0, "with": 0.0}
    for kind in dict.fromkeys(kind for kind, _ in spent):
        without, framed = (statistics.median(spent[kind, name]) for name in every)
        print(f"{kind:<8}{len(spent[kind, 'with']):>8}{without:>10.2f}{framed:>8.2f}{framed - without:>8.2f}")
    for name in every:
        every[name] = statistics.mean(itertools.chain(*(found for (_, each), found in spent.items() if each == name)))
    print(f"{'mean':<8}{'':>8}{every['without']:>10.2f}{every['with']:>8.2f}{every['with'] - every['without']:>8.2f}")
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    if load.warning:
        print(load.warning)
    return 0


if __name__ == "__main__":
    sys.exit(main())
