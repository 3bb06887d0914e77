"""What choosing a subject costs, in CPU-ms a frame: drawn people on mattes of two sizes, alone, apart and touching.

`python -m benchmarks.subject [--frames 300]`
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from fractions import Fraction

import cv2
import numpy as np

from rtseg.filters.subject import Subject
from rtseg.ops.arrays import U8
from rtseg.ops.flow import FLOW_SIZE
from rtseg.types import Frame, Regions

SIZE = (640, 360)
Person = tuple[float, float, int]
"""Where the middle is, the radius, and the seed of what they wear."""
SCENES: dict[str, Callable[[int], Sequence[Person]]] = {
    "somebody alone": lambda index: [(200 + 2.0 * index, 80, 3)],
    "two, apart": lambda index: [(160 + index % 20, 80, 3), (480 - index % 20, 70, 4)],
    "two who touch": lambda index: [(160 + 5.0 * min(index, 30) + index % 7, 80, 3), (480 - min(index, 30), 70, 4)],
}
FROM = 35
"""Frames of sixty that are not counted: in the last scene they come together in them."""


def scene(people: Sequence[Person], index: int, mask: tuple[int, int]) -> tuple[Frame, Regions]:
    """A frame of textured figures and its exact matte."""
    luma, matte = texture(1).astype(np.float32), np.zeros(SIZE[::-1], np.float32)
    for x, radius, seed in people:
        disc = np.zeros(SIZE[::-1], np.float32)
        cv2.circle(disc, (round(x), 220), round(radius), 1.0, -1, cv2.LINE_AA)
        disc = cv2.GaussianBlur(disc, (0, 0), 2.0)
        luma += disc * (np.roll(texture(seed), round(x), 1) - luma)
        matte = np.maximum(matte, disc)
    chroma = np.full((180, 320), 128, np.uint8)
    frame = Frame((np.rint(luma).astype(np.uint8), chroma, chroma), index=index, pts=index, time_base=Fraction(1, 30))
    small = cv2.resize(np.rint(255 * matte).astype(np.uint8), mask, interpolation=cv2.INTER_AREA)
    frame.luma(FLOW_SIZE)  # smoothing has made it already
    return frame, Regions(np.asarray(small, np.uint8)[None], ("person",), index, frame.size)


def texture(seed: int) -> U8:
    noise = np.random.default_rng(seed).integers(0, 256, SIZE[::-1], dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 8.0)
    return np.asarray(cv2.normalize(smooth, np.empty_like(smooth), 40, 210, cv2.NORM_MINMAX), np.uint8)


def main() -> None:
    """Print a table; every scene and way in turn, the mean of all frames but the tenth that took longest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=900)
    frames = parser.parse_args().frames
    cv2.setNumThreads(1)
    print("| scene | matte | `--subject largest` | with `--keep-held` |\n|---|---|---:|---:|")
    for name, people in SCENES.items():
        for mask in ((256, 144), (640, 360)):
            played = [scene(people(index), index, mask) for index in range(60)]
            ways = [Subject(who="largest", keep_held=held) for held in (False, True)]
            spent: list[list[float]] = [[], []]
            for index in range(frames):
                for way, times in zip(ways, spent, strict=True):
                    if index % 60 == 0:
                        way.reset()
                    begin = time.thread_time()
                    way(*played[index % 60])
                    if index % 60 >= FROM:
                        times.append((time.thread_time() - begin) * 1e3)
            plain, held = (float(np.mean(np.sort(times)[: len(times) * 9 // 10])) for times in spent)
            print(f"| {name} | {mask[0]}x{mask[1]} | {plain:.2f} | {held:.2f} |")


if __name__ == "__main__":
    main()
