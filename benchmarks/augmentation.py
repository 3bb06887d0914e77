"""What a training sample's augmentation costs with OpenCV on bytes and with kornia on tensors, interleaved.

    python -m benchmarks.augmentation

The same four steps on both sides: an affine warp, exposure and colour, blur, noise. CPU-milliseconds a picture at one
thread, medians; kornia gets batches of 16, which is how it is meant to be used. Needs `pip install kornia`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import cv2
import kornia.augmentation
import numpy as np
import torch

from benchmarks.measure import machine
from rtseg.train.augment import Scene, view
from rtseg.train.recipe import AugmentOptions
from rtseg.train.sensor import expose, noise, soften

SIZE = (320, 176)
BATCH = 16


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.augmentation", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (BATCH, 384, 512, 3), dtype=np.uint8)
    masks = np.where(rng.random((BATCH, 1, 384, 512)) > 0.5, np.uint8(255), np.uint8(0))
    tensors = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(masks).float() / 255
    chain = kornia.augmentation.AugmentationSequential(
        kornia.augmentation.RandomAffine(8.0, scale=(0.8, 1.2), p=1.0),
        kornia.augmentation.Resize((SIZE[1], SIZE[0])),
        kornia.augmentation.ColorJiggle(0.2, 0.2, 0.2, 0.05, p=1.0),
        kornia.augmentation.RandomGaussianBlur((5, 5), (0.4, 1.6), p=1.0),
        kornia.augmentation.RandomGaussianNoise(std=0.03, p=1.0),
        data_keys=["input", "mask"],
    )

    def ours() -> None:
        for index in range(BATCH):
            scene = Scene(pictures[index], masks[index], masks[index])
            drawn = view(scene, SIZE, rng, AugmentOptions(rotate=8.0), person=False)
            noise(soften(expose(drawn.rgb, rng), rng), rng)

    programs: dict[str, Callable[[], object]] = {"opencv": ours, "kornia": lambda: chain(tensors, labels)}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(options.rounds):
        for name, program in programs.items():
            start = time.process_time()
            program()
            times[name].append((time.process_time() - start) * 1000 / BATCH)
    for name, values in times.items():
        print(f"{name}: {statistics.median(values):.1f} CPU-ms a picture")
    print(f"{machine()['cpu']}, commit {machine()['commit'][:12]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
