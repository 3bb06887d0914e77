"""What of a checkpoint's JSON files ends up on its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtseg.errors import ConfigError, ModelRejected
from rtseg.train.hf_card import card_input, class_names, default_size, licence_of, slug


@pytest.mark.parametrize(
    ("processor", "size"),
    [
        ({"size": {"height": 384, "width": 512}}, (512, 384)),
        ({"size": 640}, (640, 640)),
        ({"size": {"shortest_edge": 800, "longest_edge": 1333}}, (1344, 736)),  # 1333 x 749.8, to multiples of 32
        ({"size": 800, "max_size": 1333}, (1344, 736)),
        ({"size": {"shortest_edge": 384}}, (672, 384)),
        ({"size": {"shortest_edge": 288}, "do_center_crop": True, "crop_size": {"height": 9, "width": 9}}, (9, 9)),
    ],
)
def test_the_input_has_the_size_of_the_processor(processor: dict[str, Any], size: tuple[int, int]) -> None:
    assert default_size(processor) == size


def test_a_size_that_is_not_known_asks_for_one() -> None:
    with pytest.raises(ConfigError, match="says no size that is known, but None: give --size WxH"):
        default_size({})
    assert card_input({}, "x", (64, 32)).size == (64, 32)


def test_scale_mean_and_std_are_those_of_the_processor() -> None:
    size = {"size": {"height": 32, "width": 32}}
    made = card_input({**size, "image_mean": [0.5, 0.4, 0.3], "image_std": 0.25}, "x", None)
    assert (made.scale, made.mean, made.std) == (255.0, (0.5, 0.4, 0.3), (0.25, 0.25, 0.25))
    mobile = card_input({**size, "rescale_factor": 0.00392156862745098, "do_flip_channel_order": True}, "x", None)
    assert (mobile.scale, mobile.mean, mobile.std, mobile.colour) == (255.0, (0, 0, 0), (1, 1, 1), "bgr")
    raw = card_input({**size, "do_rescale": False, "do_normalize": True}, "x", None)
    assert (raw.scale, raw.mean) == (1.0, (0.485, 0.456, 0.406))


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
