"""Tiny networks as folders in the layout of transformers.js and optimum: one made by hand, others by transformers."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from graphs import mixtures

KINDS = ("segformer", "upernet", "beit", "mobilevitv2", "deeplabv3")
LABELS = ["wall", "floor", "tree", "car", "car", "N/A", "sky"]
"""Two classes of one name and one that no file can have, as published models have them."""


PROCESSOR: dict[str, Any] = {"size": {"height": 24, "width": 32}, "image_processor_type": "SegformerImageProcessor"}


def make_folder(
    folder: Path, *, sides: tuple[Any, Any] = ("h", "w"), place: str = "onnx/model.onnx", **config: Any
) -> Path:
    """A folder in the layout, with a graph whose class is the brightest of seven mixtures of the channels."""
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    mixtures(folder / place, classes=len(LABELS), sides=sides)
    about = {"architectures": ["SegformerForSemanticSegmentation"], "id2label": dict(enumerate(LABELS)), **config}
    (folder / "config.json").write_text(json.dumps(about))
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


def make_layout(kind: str, folder: Path) -> Path:
    """The checkpoint and its graph, `onnx/model.onnx`; transformers loads the same folder."""
    import torch

    torch.manual_seed(3)
    model, processor, side = _MAKERS[kind]()
    model.config.id2label = dict(enumerate(LABELS))
    model.config.label2id = {label: number for number, label in enumerate(LABELS)}
    _spread(model, side)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "onnx").mkdir()
    export(model, folder / "onnx" / "model.onnx", side, dynamic=kind == "segformer", dynamo=kind in ("mobilevitv2",))
    return folder


def export(model: Any, path: Path, side: int, *, dynamic: bool, dynamo: bool) -> None:
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return self.model(pixel_values).logits  # type: ignore[no-any-return]

    axes = {"pixel_values": {2: "height", 3: "width"}, "logits": {2: "h", 3: "w"}} if dynamic else None
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits().eval(),
            (torch.randn(1, 3, side, side),),
            path,
            input_names=["pixel_values"],
            output_names=["logits"],
            opset_version=18 if dynamo else 17,
            dynamo=dynamo,
            dynamic_axes=axes,
            external_data=False,
        )


def change(path: Path, **fields: Any) -> None:
    """Set fields of a JSON file; None takes one away."""
    values = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def _transformers() -> Any:
    return pytest.importorskip("transformers", reason="rtseg[segformer] is not installed")


def _segformer() -> tuple[Any, Any, int]:
    t = _transformers()
    sizes = {"depths": [1] * 4, "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 1, 2, 2]}
    config = t.SegformerConfig(**sizes, decoder_hidden_size=16, num_labels=len(LABELS))
    return t.SegformerForSemanticSegmentation(config), t.SegformerImageProcessor(size={"height": 96, "width": 128}), 96


def _upernet() -> tuple[Any, Any, int]:
    t = _transformers()
    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = t.ConvNextConfig(hidden_sizes=[8, 12, 16, 24], depths=[1] * 4, out_features=stages)
    config = t.UperNetConfig(
        backbone_config=backbone,
        hidden_size=16,
        pool_scales=[1, 2, 4],
        use_auxiliary_head=False,
        num_labels=len(LABELS),
    )
    return t.UperNetForSemanticSegmentation(config), t.SegformerImageProcessor(size={"height": 128, "width": 128}), 128


def _beit() -> tuple[Any, Any, int]:
    t = _transformers()
    config = t.BeitConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=96,
        patch_size=16,
        out_indices=[1, 2, 3, 4],
        pool_scales=[1, 3],
        use_auxiliary_head=False,
        use_relative_position_bias=True,
        num_labels=len(LABELS),
    )
    processor = t.BeitImageProcessor(size={"height": 96, "width": 96}, do_center_crop=False, do_reduce_labels=True)
    return t.BeitForSemanticSegmentation(config), processor, 96


def _mobilevitv2() -> tuple[Any, Any, int]:
    t = _transformers()
    config = t.MobileViTV2Config(
        image_size=128, width_multiplier=0.25, n_attn_blocks=[1, 1, 1], num_labels=len(LABELS), aspp_out_channels=16
    )
    processor = t.MobileViTImageProcessor(
        size={"shortest_edge": 144}, crop_size={"height": 128, "width": 128}, resample=2
    )
    return t.MobileViTV2ForSemanticSegmentation(config), processor, 128


def _deeplabv3() -> tuple[Any, Any, int]:
    t = _transformers()
    config = t.MobileNetV2Config(image_size=128, depth_multiplier=0.25, num_labels=len(LABELS))
    processor = t.MobileNetV2ImageProcessor(size={"shortest_edge": 136}, crop_size={"height": 128, "width": 128})
    return t.MobileNetV2ForSemanticSegmentation(config), processor, 128


_MAKERS = {
    "segformer": _segformer,
    "upernet": _upernet,
    "beit": _beit,
    "mobilevitv2": _mobilevitv2,
    "deeplabv3": _deeplabv3,
}


def _spread(model: Any, side: int) -> None:
    """Weights so different that several classes win somewhere, and batch norms that have seen something."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, (2.0 / parameter[0].numel()) ** 0.5)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1)
            elif name.endswith("weight"):
                parameter.fill_(1.0)
        seen = torch.nn.functional.interpolate(torch.rand(4, 3, 6, 8), (side, side), mode="bicubic")
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = 0.5
        for _ in range(6):
            model(seen)
        model.eval()
        scores = [each for each in model.modules() if isinstance(each, torch.nn.Conv2d)]
        last = next(each for each in reversed(scores) if each.out_channels == len(LABELS) and each.bias is not None)
        last.weight /= model(seen).logits.std(dim=(0, 2, 3)).view(-1, 1, 1, 1)
        last.bias -= model(seen).logits.mean(dim=(0, 2, 3))


def pictures(seed: int = 0) -> list[Any]:
    """Soft blobs of colour with noise, RGB uint8, of seven sizes: odd, small, large, narrow, the network's."""
    import cv2
    import numpy as np

    random = np.random.default_rng(seed)
    made = []
    for width, height in ((97, 61), (128, 96), (320, 240), (50, 200), (641, 359), (33, 33), (300, 120)):
        small = random.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        made.append(np.clip(large + random.integers(-20, 21, large.shape), 0, 255).astype(np.uint8))
    return made


@pytest.fixture(scope="session", params=KINDS)
def layout_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each architecture."""
    return make_layout(request.param, tmp_path_factory.mktemp(request.param) / request.param)
