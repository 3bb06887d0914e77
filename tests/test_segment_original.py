"""`rtseg.segment` beside transformers' own pipeline, on the same folders and the same pictures."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import LABELS, layout_folder, pictures
from PIL import Image

import rtseg
from rtseg.exact import ExactScores
from rtseg.ops.tensors import best_class
from rtseg.processor import read_processor
from rtseg.segmenting import ImageSegmenter

__all__ = ["layout_folder"]


@pytest.mark.slow
def test_the_list_is_that_of_the_original_pipeline(layout_folder: Path, tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers' own doing
        original = transformers.pipeline("image-segmentation", model=str(layout_folder), device="cpu")
        seen: set[str] = set()
        for number, picture in enumerate(pictures()):
            path = tmp_path / f"{number}.png"
            Image.fromarray(picture).save(path)
            wanted, found = original(str(path)), rtseg.segment(path, model=layout_folder)
            assert [(s["label"], s["score"]) for s in found] == [(s["label"], s["score"]) for s in wanted]
            for ours, theirs in zip(found, wanted, strict=True):
                a, b = np.asarray(ours["mask"]), np.asarray(theirs["mask"])
                assert (ours["mask"].mode, a.shape, set(np.unique(a))) == ("L", b.shape, set(np.unique(b)))
                assert ((a & b) > 0).sum() >= 0.99 * ((a | b) > 0).sum()
            seen |= {segment["label"] for segment in found}
            tensor = original.image_processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
            np.testing.assert_array_equal(
                read_processor(layout_folder / "preprocessor_config.json")(picture), tensor.numpy()
            )
            with torch.no_grad():
                scores = original.model(tensor).logits
            np.testing.assert_allclose(raw_scores(layout_folder, tensor.numpy()), scores.numpy(), atol=1e-3)
    assert len(seen) >= 3, "a network that knows one class compares nothing"
    assert seen <= set(LABELS)


def raw_scores(folder: Path, tensor: Any) -> Any:
    from rtseg.inference.engine import OrtEngine

    engine = OrtEngine(folder / "onnx" / "model.onnx", shapes={"pixel_values": tensor.shape})
    return engine({"pixel_values": tensor})["logits"]


@pytest.mark.slow
def test_a_pixel_has_another_class_only_where_two_are_as_good(layout_folder: Path) -> None:
    """Enlarging is a mean, so scores that are d apart from the original's can change a class only where the two best
    are less than 2 d apart. A small class may so lose an IoU of 0.99: 4 of 355 pixels of DeepLabV3+ in one of these.
    The original's own scores, enlarged here, have the same best class: no resampling is off by half a pixel.
    """  # fmt: skip
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    segmenter = ImageSegmenter(layout_folder)
    assert isinstance(segmenter._exact, ExactScores)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        original = transformers.pipeline("image-segmentation", model=str(layout_folder), device="cpu")
        for picture in pictures(seed=1):
            size = picture.shape[:2]
            tensor = original.image_processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
            scores = original.model(tensor).logits
            full = torch.nn.functional.interpolate(scores, size=size, mode="bilinear")[0].numpy()
            best = np.sort(full, axis=0)
            gap = best[-1] - best[-2]
            resampled, _ = best_class(np.ascontiguousarray(scores[0].numpy()), size=size[::-1])
            assert gap[resampled != full.argmax(axis=0)].max(initial=0) <= 1e-5
            found = segmenter._exact.scores(picture)
            apart = float(np.abs(found - scores[0].numpy()).max())
            labels, _ = best_class(found, size=size[::-1])
            assert gap[labels != full.argmax(axis=0)].max(initial=0) <= 2 * apart + 1e-5
            assert apart <= 1e-3


@pytest.mark.slow
def test_probabilities_are_the_softmax_of_the_original_scores(layout_folder: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    picture = pictures()[0]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        original = transformers.pipeline("image-segmentation", model=str(layout_folder), device="cpu")
        tensor = original.image_processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
        scores = torch.nn.functional.interpolate(original.model(tensor).logits, size=picture.shape[:2], mode="bilinear")
    found = rtseg.segment(picture, model=layout_folder, probabilities=True)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities, scores.softmax(dim=1)[0].numpy(), atol=1e-3)
    assert rtseg.segment(picture, model=layout_folder).probabilities is None
