"""Queries to segments: each query of a network names a class and a mask, and this says who gets which pixel.

NumPy's twin of `post_process_*` of transformers' processors (5.24), for one picture. Class logits are float32 Qx(C+1),
the last for "no object"; mask logits float32 Qxhxw. Unlike there, queries that cannot become a segment are left out
before their masks are touched. `Kind` says whose rules apply:

- "mask2former" first brings masks to 384x384, whatever the picture's size.
- "oneformer" decides instances by raw mask logits, weighted by the score, and enlarges with antialiasing.
- "detr" and "oneformer" give each pixel of instances to one query; the other two paint them over each other.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.arrays import F32, as_f32
from rtseg.ops.tensors import best_class

Kind: TypeAlias = Literal["maskformer", "mask2former", "oneformer", "detr"]
Size: TypeAlias = tuple[int, int]

MASK2FORMER = (384, 384)
"""What Mask2Former's processor takes every mask to first (width, height)."""


class Thresholds(NamedTuple):
    """threshold: a score that a query must exceed. mask: a weighted probability that counts as inside.
    overlap: the part of a query's inside that must be its own, or it is no segment."""  # fmt: skip

    threshold: float = 0.5
    mask: float = 0.5
    overlap: float = 0.8


DEFAULT = Thresholds()


class Found(NamedTuple):
    """ids: int32 HxW, -1 where no segment is; of each segment its id in ids, its label, its score (float32).

    masks: bool NxHxW where segments may cover each other ("maskformer" and "mask2former" instances), else None.
    """

    ids: NDArray[np.int32]
    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: F32
    masks: NDArray[np.bool_] | None = None


def semantic(
    classes: F32, masks: F32, kind: Kind, *, size: Size | None = None
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The class of each pixel, uint8 (uint16 over 255 classes), at `size` (width, height) or the masks' own.

    The masks' probabilities are summed, weighted by the probability of the class (Cheng et al., MaskFormer, 2021).
    """
    weights = softmax(classes)[:, :-1]
    planes = sigmoid(_start(masks, kind))
    flat = planes.reshape(len(planes), -1)
    scores = as_f32((weights.T @ flat).reshape(-1, *planes.shape[1:]))
    return best_class(enlarged(scores, size))[0]


def panoptic(
    classes: F32,
    masks: F32,
    kind: Kind,
    *,
    thresholds: Thresholds = DEFAULT,
    fuse: frozenset[int] = frozenset(),
    size: Size | None = None,
) -> Found:
    """Each pixel to one query, at `size` (width, height) or the masks' own; ids count from 1.

    fuse: labels whose queries share one id. There is an entry a query, so an id may come more than once. transformers
    goes on counting from the last id that was shared, which gives the next segment an id that another has already;
    here a new segment has a new id. Where nothing is fused both give the same.
    """
    scores, labels = _best(classes)
    kept = np.flatnonzero((labels != classes.shape[1] - 1) & (scores > thresholds.threshold))
    planes = sigmoid(_start(masks[kept], kind))
    planes = enlarged(planes, size, antialias=kind == "oneformer")
    return _assigned(planes, scores[kept], labels[kept], thresholds, fuse)


def instances(
    classes: F32, masks: F32, kind: Kind, *, thresholds: Thresholds = DEFAULT, size: Size | None = None
) -> Found:
    """Things, at `size` (width, height) or the masks' own. Ids count from 0 for the kinds that paint, else from 1.

    Other than "detr", a query stands for each of its classes whose score is among the Q greatest. Of those that paint
    the score is that of the class times the mean probability inside the mask, and later ones, which score lower, lie
    on top. Their order is by falling class score; transformers leaves it open (`topk(sorted=False)`) but keeps this
    one for 64 classes and more. `mask` and `overlap` mean nothing to them.
    """
    if kind == "detr":
        return panoptic(classes, masks, kind, thresholds=thresholds, size=size)
    chances = softmax(classes)[:, :-1]
    order = np.argsort(-chances.ravel(), kind="stable")[: len(classes)]
    scores = chances.ravel()[order]
    queries, labels = np.divmod(order, chances.shape[1])
    if kind == "oneformer":
        kept = scores > thresholds.threshold
        planes = enlarged(masks[queries[kept]], size, antialias=True)
        return _assigned(planes, scores[kept], labels[kept], thresholds, frozenset())
    kept = scores >= thresholds.threshold  # the mean probability can only lower a score
    return _painted(_start(masks[queries[kept]], kind), scores[kept], labels[kept], thresholds.threshold, size)


def _start(masks: F32, kind: Kind) -> F32:
    return enlarged(masks, MASK2FORMER) if kind == "mask2former" else masks


def _best(classes: F32) -> tuple[F32, NDArray[np.int64]]:
    """The greatest probability of each query, "no object" among them, and its class."""
    chances = softmax(classes)
    labels = chances.argmax(axis=1)
    return as_f32(np.take_along_axis(chances, labels[:, None], axis=1)[:, 0]), labels


def _assigned(
    planes: F32, scores: F32, labels: NDArray[np.int64], thresholds: Thresholds, fuse: frozenset[int]
) -> Found:
    """Each pixel to the plane that, weighted by its score, is the greatest there; planes that lose most get none."""
    if not len(planes):
        return _none(planes)
    weighted = planes * scores[:, None, None]
    winners = best_class(weighted)[0]
    own = np.bincount(winners.ravel(), minlength=len(planes))
    inside = np.count_nonzero((weighted >= np.float32(thresholds.mask)).reshape(len(planes), -1), axis=1)
    sound = (own > 0) & (inside > 0)
    share = np.divide(own, np.maximum(inside, 1), dtype=np.float32)
    sound &= share.astype(np.float64) > thresholds.overlap  # both as there: 4 of 5 pixels are more than 0.8 of them
    number_of = np.full(len(planes), -1, np.int32)
    shared: dict[int, int] = {}
    count = 0
    for query in np.flatnonzero(sound):
        label = int(labels[query])
        if label not in shared:
            count += 1
            if label in fuse:
                shared[label] = count
        number_of[query] = shared.get(label, count)
    kept = np.flatnonzero(sound)
    return Found(number_of[winners], number_of[kept].astype(np.int64), labels[kept], _rounded(scores[kept]))


def _painted(masks: F32, scores: F32, labels: NDArray[np.int64], threshold: float, size: Size | None) -> Found:
    if not len(masks):
        return _none(masks if size is None else enlarged(masks, size))
    inside = np.empty(masks.shape, np.bool_)
    np.greater(masks, 0, out=inside)
    areas = np.count_nonzero(inside.reshape(len(masks), -1), axis=1)
    sums = np.where(inside, sigmoid(masks), np.float32(0)).reshape(len(masks), -1).sum(axis=1, dtype=np.float32)
    scores = as_f32(scores * (sums / (areas.astype(np.float32) + np.float32(1e-6))))
    if size is not None:
        inside = np.take(inside, _nearest(masks.shape[1], size[1]), axis=1)
        inside = np.take(inside, _nearest(masks.shape[2], size[0]), axis=2)
    kept = np.flatnonzero(inside.any(axis=(1, 2)) & (scores.astype(np.float64) >= threshold))
    ids = np.full(inside.shape[1:], -1, np.int32)
    for number, query in enumerate(kept):
        ids[inside[query]] = number
    return Found(ids, np.arange(len(kept)), labels[kept], _rounded(scores[kept]), inside[kept])


def _none(planes: F32) -> Found:
    nothing = np.zeros(0, np.int64)
    return Found(np.full(planes.shape[1:], -1, np.int32), nothing, nothing, np.zeros(0, np.float32))


def _rounded(scores: F32) -> F32:
    """To six digits, as transformers gives them."""
    return as_f32(np.round(scores.astype(np.float64), 6).astype(np.float32))


def softmax(logits: F32) -> F32:
    """Over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return as_f32(shifted / shifted.sum(axis=-1, keepdims=True))


def sigmoid(x: F32) -> F32:
    """1 / (1 + exp(-x)), which keeps what is next to nothing apart from nothing, unlike the faster one by tanh.

    Where no query is likely, the least unlikely one decides: at -20 the other form would give 0 to all.
    """
    out: F32 = np.negative(x)
    with np.errstate(over="ignore"):  # infinity, whose inverse is 0
        np.exp(out, out=out)
    out += np.float32(1.0)
    np.reciprocal(out, out=out)
    return out


def enlarged(planes: F32, size: Size | None, *, antialias: bool = False) -> F32:
    """Planes Nxhxw to `size` (width, height), bilinear with pixel centres kept; the array itself where they have it.

    antialias: where planes get smaller, each pixel is a mean over a triangle as wide as the step (torch's rule).
    """
    if size is None or planes.shape[1:] == (size[1], size[0]):
        return planes
    width, height = size
    if antialias and (width < planes.shape[2] or height < planes.shape[1]):
        return as_f32(_triangles(planes.shape[1], height) @ planes @ _triangles(planes.shape[2], width).T)
    out = np.empty((len(planes), height, width), np.float32)
    for plane, target in zip(planes, out, strict=True):
        cv2.resize(plane, size, dst=target, interpolation=cv2.INTER_LINEAR)
    return out


def _triangles(samples: int, wanted: int) -> F32:
    """Weights wanted x samples of a bilinear filter that is as wide as the step, at least one sample."""
    step = samples / wanted
    centres = (np.arange(wanted) + 0.5) * step
    distances = np.abs(np.arange(samples)[None] + 0.5 - centres[:, None]) / max(step, 1.0)
    weights = np.clip(1.0 - distances, 0.0, None)
    return as_f32((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


def _nearest(samples: int, wanted: int) -> NDArray[np.int64]:
    """Which sample each of the wanted ones is: torch's "nearest", in its float32."""
    step = np.float32(samples / wanted)
    found: NDArray[np.int64] = np.floor(np.arange(wanted, dtype=np.float32) * step).astype(np.int64)
    return found.clip(max=samples - 1)
