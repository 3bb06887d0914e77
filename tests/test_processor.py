from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import pictures
from PIL import Image

from rtseg.errors import ModelNotFound, ModelRejected
from rtseg.processor import Processor, Sides, read_processor

SQUARE = {"height": 16, "width": 24}
EDGES = {"shortest_edge": 37, "longest_edge": 70}
LARGE = {"height": 96, "width": 96}


def written(folder: Path, **fields: Any) -> Path:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({"size": SQUARE, **fields}))
    return path


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("SegformerImageProcessor", {}),
        ("SegformerImageProcessor", {"size": {"shortest_edge": 20}, "resample": 0, "do_reduce_labels": True}),
        ("SegformerImageProcessor", {"do_rescale": False, "image_mean": [1.0, 2.0, 3.0], "image_std": [4.0, 5.0, 6.0]}),
        ("SegformerImageProcessor", {"do_normalize": False, "rescale_factor": 1 / 127.5, "size": 40}),
        ("SegformerImageProcessor", {"do_resize": False}),
        ("SegformerImageProcessor", {"do_center_crop": True, "crop_size": {"height": 9, "width": 9}}),
        ("BeitImageProcessor", {"do_center_crop": True, "crop_size": {"height": 13, "width": 50}}),
        ("BeitImageProcessor", {"size": {"shortest_edge": 30, "longest_edge": 50}, "resample": 2}),
        ("MobileViTImageProcessor", {}),
        ("MobileViTImageProcessor", {"size": 37, "crop_size": 32, "do_normalize": True}),
        ("MobileViTImageProcessor", {"do_flip_channel_order": False, "do_center_crop": False}),
        ("MobileNetV2ImageProcessor", {"do_pad": True, "pad_size": {"height": 9, "width": 9}}),
        ("ViTImageProcessor", {"size": SQUARE, "resample": 3, "do_pad": True, "pad_size": {"height": 17, "width": 30}}),
        ("ViTImageProcessor", {"size": 20}),
        ("DetrImageProcessor", {"size": EDGES}),
        ("DetrImageProcessor", {"size": 40, "max_size": 60, "pad_size": LARGE}),
        ("DetrImageProcessor", {"size": 40, "pad_and_return_pixel_mask": False}),
        ("MaskFormerImageProcessor", {"size": EDGES}),
        ("MaskFormerImageProcessor", {"size": EDGES, "size_divisor": 0, "do_pad": False, "pad_size": LARGE}),
        ("Mask2FormerImageProcessor", {"size": EDGES, "size_divisor": 16}),
    ],
)  # fmt: skip
def test_a_tensor_is_the_original_processors_number_for_number(
    tmp_path: Path, kind: str, fields: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers", reason="rtseg[segformer] is not installed")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind, **fields}))
    original = getattr(transformers, kind).from_pretrained(tmp_path)
    processor = read_processor(tmp_path / "preprocessor_config.json")
    # 51x20: the shortest edge that the longest leaves is rounded to the one that is there.
    for picture in (*pictures(seed=4), np.full((20, 51, 3), 99, np.uint8)):
        wanted = original(Image.fromarray(picture), return_tensors="np")
        np.testing.assert_array_equal(processor(picture), wanted["pixel_values"])
        if "pixel_mask" in wanted:
            np.testing.assert_array_equal(processor.pixel_mask(picture)[None], wanted["pixel_mask"])


def test_a_processor_of_no_known_name_must_say_all(tmp_path: Path) -> None:
    found = read_processor(written(tmp_path, image_processor_type="OtherImageProcessor", do_normalize=False))
    assert found == Processor(size=Sides(**SQUARE), do_normalize=False)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(ModelRejected, match="size must be height and width, or shortest_edge, and not nothing"):
        read_processor(tmp_path / "preprocessor_config.json")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keep_aspect_ratio": True}, "keep_aspect_ratio = True is not understood"),
        ({"image_seq_length": 32}, "image_seq_length = 32 is not understood"),
        ({"resample": 1}, "resample = 1: "),
        ({"image_std": [0.0, 1.0, 1.0]}, r"image_std.0 = 0.0: "),
        ({"image_mean": 0.5}, "image_mean = 0.5: "),
        ({"size": {"height": 16}}, r"size must be .*'height': 16"),
        ({"size": {"max_height": 16, "max_width": 16}}, "size.max_height = 16 is not understood"),
        ({"do_center_crop": True}, "crop_size must be height and width, and not nothing"),
        ({"do_center_crop": True, "crop_size": {"shortest_edge": 9}}, "crop_size must be height and width"),
        ({"do_pad": True, "pad_size": {"height": 9}}, "pad_size must be height and width"),
    ],
)
def test_what_is_not_understood_is_refused_by_its_name(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelRejected, match=message):
        read_processor(written(tmp_path, **fields))


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_what_is_no_file_of_a_processor_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "preprocessor_config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelRejected, match=r"preprocessor_config\.json is no"):
        read_processor(tmp_path / "preprocessor_config.json")
    with pytest.raises(ModelNotFound, match=r"none.json cannot be read"):
        read_processor(tmp_path / "none.json")


def test_a_picture_that_does_not_fit_into_its_padding_is_refused(tmp_path: Path) -> None:
    processor = read_processor(written(tmp_path, do_pad=True, pad_size={"height": 8, "width": 24}))
    with pytest.raises(ModelRejected, match="pad_size is 24x8, and the picture before it 24x16"):
        processor(np.zeros((5, 5, 3), np.uint8))


def test_live_frames_get_the_same_numbers_where_nothing_is_resized(tmp_path: Path) -> None:
    from rtseg.ops.tensors import InputFormat

    fields = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "do_flip_channel_order": True}
    processor = read_processor(written(tmp_path, **fields))
    picture = pictures()[0][:16, :24]
    wanted = processor.card_input("x", (24, 16))
    layout = InputFormat(**wanted.model_dump(exclude={"name", "matrix", "full_range"}))
    tensor = np.zeros(layout.shape, np.float32)
    layout.write(np.ascontiguousarray(picture), layout.window((24, 16)), tensor)
    np.testing.assert_allclose(tensor, processor(picture), atol=1e-6)
