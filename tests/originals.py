"""What the processors of transformers make of raw outputs, and whether ours is the same."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rtseg.ops import queries
from rtseg.ops.arrays import F32
from rtseg.ops.queries import Kind


def original(kind: Kind, task: str, classes: F32, masks: F32, **options: Any) -> Any:
    """What the processor of transformers makes of them."""
    pytest.importorskip("transformers", reason="the original is in rtseg[segformer]")
    import torch

    torch.set_num_threads(1)  # planes are small, and threads wait for each other
    name = {"maskformer": "MaskFormer", "mask2former": "Mask2Former", "oneformer": "OneFormer", "detr": "Detr"}[kind]
    module = importlib.import_module(f"transformers.models.{kind}.image_processing_pil_{kind}")
    processor = object.__new__(getattr(module, f"{name}ImageProcessorPil"))
    processor.class_info_file = "mine.json"
    if kind == "oneformer":
        # The one function of torchvision that is used, which does not go with every torch: this is all it does.
        def resize(planes: Any, size: Any, interpolation: Any) -> Any:
            return torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True)

        module.tvF = SimpleNamespace(resize=resize, InterpolationMode=SimpleNamespace(BILINEAR=None))  # type: ignore[attr-defined]
    raw = (torch.from_numpy(classes.copy())[None], torch.from_numpy(masks.copy())[None])
    names = ("logits", "pred_masks") if kind == "detr" else ("class_queries_logits", "masks_queries_logits")
    outputs = SimpleNamespace(**dict(zip(names, raw, strict=True)))
    if size := options.pop("size", None):
        options["target_sizes"] = [size[::-1]]
    [found] = getattr(processor, f"post_process_{task}_segmentation")(outputs, **options)
    return found


def ids_of(found: Any, *, background: int) -> Any:
    """Its map with -1 where no segment is."""
    ids = found["segmentation"].numpy().astype(np.int64)
    return np.where(ids == background, -1, ids)


def check_same(ours: queries.Found, theirs: Any, *, background: int) -> None:
    """The same ids, labels, scores and masks."""
    segments = theirs["segments_info"]
    assert ours.numbers.tolist() == [segment["id"] for segment in segments]
    assert ours.labels.tolist() == [segment["label_id"] for segment in segments]
    np.testing.assert_allclose(ours.scores, [segment["score"] for segment in segments], atol=2e-6)
    wanted = ids_of(theirs, background=background)
    assert ours.ids.shape == wanted.shape
    for number in {*ours.numbers.tolist(), -1}:
        one, other = ours.ids == number, wanted == number
        assert (one & other).sum() >= 0.99 * (one | other).sum()
