"""What of a checkpoint's JSON files ends up on its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rtseg.errors import ConfigError, ModelRejected
from rtseg.processor import Processor, read_processor
from rtseg.train.hf_card import class_names, default_size, licence_of, slug


def processor_of(folder: Path, **fields: Any) -> Processor:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(fields))
    return read_processor(path)


@pytest.mark.parametrize(
    ("kind", "fields", "size"),
    [
        ("Segformer", {"size": {"height": 384, "width": 512}}, (512, 384)),
        ("Segformer", {"size": 640}, (640, 640)),
        ("Detr", {"size": {"shortest_edge": 800, "longest_edge": 1333}}, (1344, 736)),  # 1333 x 749.8, by 32
        ("Detr", {"size": 800, "max_size": 1333}, (1344, 736)),
        ("Segformer", {"size": {"shortest_edge": 384}}, (672, 384)),
        ("MobileViT", {"size": {"shortest_edge": 288}, "crop_size": {"height": 9, "width": 9}}, (9, 9)),
    ],
)
def test_the_input_has_the_size_of_the_processor(
    tmp_path: Path, kind: str, fields: dict[str, Any], size: tuple[int, int]
) -> None:
    assert default_size(processor_of(tmp_path, image_processor_type=f"{kind}ImageProcessor", **fields)) == size


def test_a_size_that_is_not_known_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="says no size: give --size WxH"):
        default_size(processor_of(tmp_path, do_resize=False))


def test_a_file_that_names_no_processor_is_read_as_that_of_its_model(tmp_path: Path) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({"size": 32}))
    made = read_processor(path, model_type="segformer").card_input("x", (64, 32))
    assert (made.scale, made.mean, made.std) == (255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    mobile = read_processor(path, model_type="mobilevit").card_input("x", (64, 32))
    assert (mobile.scale, mobile.mean, mobile.std, mobile.colour) == (255.0, (0, 0, 0), (1, 1, 1), "bgr")


def test_class_names_are_each_once_and_fit_into_the_names_of_files() -> None:
    long = "a" * 80
    assert class_names({"1": "N/A", "0": "sky, blue", "2": "N/A", "3": long, "4": long}) == (
        "sky, blue",
        "N-A",
        "N-A (2)",
        "a" * 64,
        "a" * 58 + " (2)",
    )
    with pytest.raises(ModelRejected, match="must number its classes 0 to 1 without gaps"):
        class_names({"0": "a", "2": "b"})


def test_the_licence_is_the_one_that_is_declared(tmp_path: Path) -> None:
    assert licence_of(tmp_path) == "not declared: ask whose checkpoint it is"
    (tmp_path / "README.md").write_text("---\ntags:\n- vision\nlicense: mit\n---\n# Model\n")
    assert licence_of(tmp_path) == "mit"


def test_a_folder_gives_the_card_its_name() -> None:
    assert slug("Mask2Former Swin_Tiny (v2)") == "mask2former-swin_tiny-v2"
    assert slug("...") == "checkpoint"
