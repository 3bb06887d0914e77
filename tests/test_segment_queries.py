"""`rtseg.segment` beside transformers' own pipeline for networks that answer with queries."""

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
from rtseg.layouts import find_layout

torch: Any = pytest.importorskip("torch", reason="the original is in rtseg[segformer]")
transformers: Any = pytest.importorskip("transformers", reason="the original is in rtseg[segformer]")

from query_checkpoints import save  # noqa: E402

from rtseg.train.hf import export_checkpoint  # noqa: E402

KINDS = {"maskformer": "MaskFormerImageProcessor", "mask2former": "Mask2FormerImageProcessor"}
KINDS |= {"detr": "DetrImageProcessor"}
OPTIONS = {"threshold": 0.3, "mask_threshold": 0.5, "overlap_mask_area_threshold": 0.5}


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and its graph in the layout of transformers.js."""
    made: Path = tmp_path_factory.mktemp(request.param)
    save(request.param, made, image_processor_type=KINDS[request.param], resample=2)
    exported = export_checkpoint(made, tmp_path_factory.mktemp("out"))
    (made / "onnx").mkdir()
    shutil.move(exported.path, made / "onnx" / "model.onnx")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("task", ["panoptic", "instance", "semantic"])
def test_the_list_is_that_of_the_original_pipeline(folder: Path, task: Any, tmp_path: Path) -> None:
    """Scores to rounding, masks to 0.99: a pixel where two masks are equal to the last digit goes either way."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of transformers' own doing
        original = transformers.pipeline("image-segmentation", model=str(folder), device="cpu")
        counts = []
        for number, picture in enumerate(pictures()):
            path = tmp_path / f"{number}.png"
            Image.fromarray(picture).save(path)
            options: dict[str, Any] = {} if task == "semantic" else OPTIONS
            wanted = original(str(path), subtask=task, **options)
            found = rtseg.segment(path, model=folder, task=task, **options)
            assert [each["label"] for each in found] == [each["label"] for each in wanted]
            for ours, theirs in zip(found, wanted, strict=True):
                assert (ours["score"] is None) == (theirs["score"] is None)
                assert ours["score"] is None or abs(ours["score"] - theirs["score"]) < 1e-3
                a, b = np.asarray(ours["mask"]), np.asarray(theirs["mask"])
                assert a.shape == b.shape == picture.shape[:2]
                assert ((a & b) > 0).sum() >= 0.99 * ((a | b) > 0).sum()
            counts.append(len(found))
    assert max(counts) >= 2, "a network that sees one thing compares nothing"


def test_a_graph_with_other_inputs_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    import onnx

    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    model = onnx.load(broken / "onnx" / "model.onnx")
    more = onnx.helper.make_tensor_value_info("boxes", onnx.TensorProto.INT64, [1, 64, 64])
    model.graph.input.append(more)
    onnx.save(model, broken / "onnx" / "model.onnx")
    with pytest.raises(
        rtseg.ModelError,
        match=r"must take the picture and pixel_mask if it likes, .* `rtseg export hf` makes such a graph",
    ):
        find_layout(str(broken))
