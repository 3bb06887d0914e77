"""From a one-stage detector's tensors to instance masks at the frame's size, as is usual in torch.

Written from the published layout of YOLO's segmentation heads, 1x116x8400 rows and 1x32x160x160 prototypes: threshold,
suppression a class, coefficients times prototypes, cropped by the boxes, enlarged to the frame, cut at zero.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.job import Job
from benchmarks.shapes import CLASSES, colours, detections, things
from benchmarks.split import SplitMeter, main
from benchmarks.video import save_still

_SQUARE = 640
_LEAST, _OVERLAP = 0.25, 0.7


def boxes_of(rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes x0 y0 x1 y1 in the square, labels, scores and coefficients of what is left after suppression."""
    cells = rows[0].T
    scores, labels = cells[:, 4 : 4 + CLASSES].max(dim=1)
    sure = scores > _LEAST
    cells, scores, labels = cells[sure], scores[sure], labels[sure]
    centre, half = cells[:, :2], cells[:, 2:4] / 2
    boxes = torch.cat([centre - half, centre + half], dim=1)
    kept = _suppressed(boxes + labels[:, None] * 4096, scores)
    return boxes[kept], labels[kept], scores[kept], cells[kept, 4 + CLASSES :]


def _suppressed(boxes: Tensor, scores: Tensor) -> Tensor:
    order = scores.argsort(descending=True)
    low = torch.maximum(boxes[order, None, :2], boxes[None, order, :2])
    high = torch.minimum(boxes[order, None, 2:], boxes[None, order, 2:])
    shared = (high - low).clamp(min=0).prod(dim=2)
    area = (boxes[order, 2:] - boxes[order, :2]).prod(dim=1)
    overlaps = (shared / (area[:, None] + area[None] - shared) > _OVERLAP).numpy()
    kept: list[int] = []
    for index in range(len(order)):
        if not overlaps[index, kept].any():
            kept.append(index)
    return order[kept]


def masks_of(boxes: Tensor, coefficients: Tensor, protos: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks NxHxW, bool, for a frame of `size` (width, height) that lay letterboxed in the square."""
    height, width = protos.shape[2:]
    masks = (coefficients @ protos[0].flatten(1)).view(-1, height, width)
    edge = boxes * (width / _SQUARE)
    x, y = torch.arange(width)[None, None], torch.arange(height)[None, :, None]
    x0, y0, x1, y1 = edge[:, :, None, None].unbind(dim=1)
    masks = masks * ((x >= x0) & (x < x1) & (y >= y0) & (y < y1))
    scale = width / max(size)
    left, top = round((width - size[0] * scale) / 2), round((height - size[1] * scale) / 2)
    inner = masks[None, :, top : height - top, left : width - left]
    return functional.interpolate(inner, size=(size[1], size[0]), mode="bilinear", align_corners=False)[0] > 0


def run(job: Job, meter: SplitMeter) -> None:
    torch.set_grad_enabled(False)
    if job.threads:
        torch.set_num_threads(job.threads)
    size = (job.width, job.height)
    found = detections(things(job.things, size), size)
    rows, protos = torch.from_numpy(found.rows), torch.from_numpy(found.protos)
    meter.versions |= {"torch": torch.__version__}
    for index in range(-2, job.frames):
        with meter.frame(counted=index >= 0):
            with meter.part("boxes"):
                boxes, labels, _, coefficients = boxes_of(rows)
            with meter.part("masks"):
                masks = masks_of(boxes, coefficients, protos, size).numpy()
        if len(masks) != job.things:
            raise ValueError(f"{len(masks)} masks of {job.things} things: the post-processing is wrong")
    shown = np.zeros((job.height, job.width, 3), np.uint8)
    for mask, label in zip(masks, labels, strict=True):
        shown[mask] = colours(job.things)[int(label)]
    save_still(job, job.frames - 1, cv2.cvtColor(shown, cv2.COLOR_RGB2BGR).astype(np.uint8))


if __name__ == "__main__":
    main(run, network=False)
