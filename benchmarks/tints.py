"""Overlays of many classes: one layer that mixes colours at the masks' size, beside a layer a class.

    python -m benchmarks.tints [--rounds 40]

A frame of 1280 x 720 under class maps of 512 x 288 with 19 and 150 classes in patches, a panoptic map of 40 segments,
and the instances of `benchmarks.detector`. One thread, no legend; CPU milliseconds of effect and compositor together,
medians of rounds that take all in turn. "differ" is the greatest difference in levels of luma where no two classes meet
within two pixels of the mask, and anywhere.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from benchmarks.detector import SIZE, detector, scenes
from benchmarks.measure import machine, watched
from rtseg.compositor import Compositor
from rtseg.effects.overlay import Overlay
from rtseg.effects.selection import select
from rtseg.frame import Size
from rtseg.ops.arrays import U8
from rtseg.ops.palette import palette_for
from rtseg.types import Frame, Layer, Panoptic, Regions, Segmentation, SegmentInfo, Semantic, Solid, masks_of

MAP = (512, 288)


def patches(classes: int, *, size: tuple[int, int] = MAP) -> U8:
    """Labels HxW in smooth patches, every class in sight."""
    chance = np.random.default_rng(classes)
    side = 32
    coarse = chance.permutation(np.arange((size[1] // side) * (size[0] // side)) % classes).astype(np.uint8)
    labels = coarse.reshape(size[1] // side, size[0] // side)
    return np.ascontiguousarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST))


def results() -> dict[str, Segmentation]:
    """By what they are."""
    names = tuple(f"class {index}" for index in range(150))
    size = Size(*SIZE)
    segments = tuple(SegmentInfo(index, index % 19, 0.9) for index in range(40))
    segmenter, window = detector(SIZE)
    frame = Frame.from_rgb(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    found: dict[str, Segmentation] = {
        "19 classes": Semantic(patches(19), names[:19], 0, size),
        "150 classes": Semantic(patches(144), names, 0, size),
        "40 segments": Panoptic(patches(40).astype(np.int32), segments, names[:19], 0, size),
    }
    for name, outputs in scenes().items():
        found[f"instances, {name}"] = segmenter.read(outputs, window, frame)
    return found


def layer_a_class(found: Segmentation) -> Callable[[], list[Layer]]:
    """The overlay as it was: a `Solid` for each name in sight."""
    overlay = Overlay(legend=False)
    overlay(Frame.from_rgb(np.zeros((8, 8, 3), np.uint8)), found, ())
    colours = palette_for(found.names, None)
    alphas = overlay._styles[found.names[0]].alphas

    def layers() -> list[Layer]:
        masks = select(found, found.names)
        return [Layer(np.asarray(cv2.LUT(mask, alphas)), Solid(colours[name])) for name, mask in masks.items()]

    return layers


def apart(found: Segmentation) -> U8:
    """255 where no two classes are within two pixels of the mask, at the frame's size."""
    around = np.ones((5, 5), np.uint8)
    near = sum((cv2.dilate((mask > 0).view(np.uint8), around) for mask in masks_of(found).values()), np.uint8(0))
    return np.asarray(cv2.resize((np.asarray(near) <= 1).astype(np.uint8) * 255, SIZE, interpolation=cv2.INTER_NEAREST))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tints", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    frame = Frame.from_rgb(np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8))
    made = results()
    ways: dict[str, dict[str, Callable[[], Sequence[Layer]]]] = {}
    for name, found in made.items():
        assert not isinstance(found, Regions)
        overlay = Overlay(legend=False)
        ways[name] = {"a class": layer_a_class(found), "one": lambda o=overlay, f=found: o(frame, f, ())}  # type: ignore[misc]
    compositor = Compositor()
    spent: dict[tuple[str, str], list[float]] = {}
    pictures: dict[tuple[str, str], Frame] = {}
    counts: dict[tuple[str, str], int] = {}
    with watched() as load:
        for _ in range(options.rounds + 2):
            for name, each in ways.items():
                for way, layers in each.items():
                    start = time.process_time()
                    drawn = layers()
                    pictures[name, way] = compositor(frame, drawn)
                    spent.setdefault((name, way), []).append(1e3 * (time.process_time() - start))
                    counts[name, way] = len(drawn)
    print("| | layers | a layer a class, CPU-ms | one layer | ratio | differ apart | anywhere |")
    print("|---|" + "---:|" * 6)
    for name, found in made.items():
        before, after = (statistics.median(spent[name, way][2:]) for way in ("a class", "one"))
        a, b = (pictures[name, way].planes[0].astype(int) for way in ("a class", "one"))
        off = np.abs(a - b)
        clear = apart(found) > 0
        cells = (
            f"{before:.2f}",
            f"{after:.2f}",
            f"{after / before:.2f}",
            int(off[clear].max(initial=0)),
            int(off.max()),
        )
        print(f"| {name} | {counts[name, 'a class']} | " + " | ".join(map(str, cells)) + " |")
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    if load.warning:
        print(load.warning)
    return 0


if __name__ == "__main__":
    sys.exit(main())
