"""Pictures that keep their aspect, as image processors keep it: `rtseg.segment` beside transformers' own pipeline."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import pictures
from PIL import Image

import rtseg
from rtseg import exact
from rtseg.segmenting import ImageSegmenter

torch: Any = pytest.importorskip("torch", reason="the original is in rtseg[segformer]")
transformers: Any = pytest.importorskip("transformers", reason="the original is in rtseg[segformer]")

from query_checkpoints import export_open, save  # noqa: E402

from rtseg.train.hf import export_checkpoint  # noqa: E402

UNIVERSAL = ["class_queries_logits", "masks_queries_logits"]
EDGES = {"shortest_edge": 64, "longest_edge": 110}
PADDED: dict[str, Any] = {"size": {"shortest_edge": 48, "longest_edge": 96}, "pad_size": {"height": 96, "width": 96}}
OPTIONS = {"threshold": 0.3, "mask_threshold": 0.5, "overlap_mask_area_threshold": 0.1}


def checkpoint(kind: str, folder: Path) -> Path:
    """A folder whose graph takes what its processor makes: of any size, or padded to one."""
    match kind:
        case "detr":
            model = save("detr", folder, seed=13, image_processor_type="DetrImageProcessor", size=EDGES)
            export_open(model, folder / "onnx" / "model.onnx", ["logits", "pred_masks"], mask=True)
        case "detr-padded":
            more: dict[str, Any] = {**PADDED, "pad_size": {"height": 128, "width": 112}}
            model = save("detr", folder, seed=13, image_processor_type="DetrImageProcessor", **more)
            export_open(model, folder / "onnx" / "model.onnx", ["logits", "pred_masks"], mask=True)
        case "maskformer":
            more = {"image_processor_type": "MaskFormerImageProcessor", "size": EDGES, "size_divisor": 32}
            model = save("maskformer-resnet", folder, **more)
            export_open(model, folder / "onnx" / "model.onnx", UNIVERSAL, mask=False)
        case "mask2former-padded":
            save("mask2former", folder, image_processor_type="Mask2FormerImageProcessor", size_divisor=16, **PADDED)
            exported = export_checkpoint(folder, folder / "out", size=(96, 96))
            (folder / "onnx").mkdir()
            shutil.move(exported.path, folder / "onnx" / "model.onnx")
    return folder


@pytest.fixture(scope="module", params=["detr", "detr-padded", "maskformer", "mask2former-padded"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(request.param, tmp_path_factory.mktemp(request.param))


def check_list(found: Any, wanted: Any, shape: tuple[int, int]) -> None:
    """The same list; masks to 0.99, since a pixel where two masks are equal to the last digit goes either way."""
    assert [each["label"] for each in found] == [each["label"] for each in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours["score"] is None) == (theirs["score"] is None)
        assert ours["score"] is None or abs(ours["score"] - theirs["score"]) < 1e-3
        a, b = np.asarray(ours["mask"]), np.asarray(theirs["mask"])
        assert a.shape == b.shape == shape
        assert ((a & b) > 0).sum() >= 0.99 * ((a | b) > 0).sum()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["panoptic", "instance", "semantic"])
def test_pictures_of_any_size_give_the_list_of_the_original_pipeline(folder: Path, task: Any) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of transformers' own doing
        original = transformers.pipeline("image-segmentation", model=str(folder), device="cpu")
        counts = []
        for picture in pictures()[::2]:
            options: dict[str, Any] = {} if task == "semantic" else OPTIONS
            wanted = original(Image.fromarray(picture), subtask=task, **options)
            found = rtseg.segment(picture, model=folder, task=task, **options)
            check_list(found, wanted, picture.shape[:2])
            counts.append(len(found))
    assert max(counts) >= 2, "a network that sees one thing compares nothing"


def test_tensors_keep_the_aspect_of_the_picture(folder: Path) -> None:
    segmenter = ImageSegmenter(folder)
    assert isinstance(segmenter._exact, exact.ExactQueries)
    for picture in pictures()[:3]:
        segmenter(picture)
    sizes = set(segmenter._exact.engines.sizes)
    assert len(sizes) == (1 if "padded" in folder.name else 3), sizes
