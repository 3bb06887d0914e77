"""Tiny checkpoints of transformers' architectures, random but not indifferent: their queries see different things."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

transformers: Any = pytest.importorskip("transformers", reason="checkpoints need the extra `export`")

CLASSES = 70
"""From 64 on, transformers' topk(sorted=False) is in order."""
PROCESSOR = {
    "do_resize": True,
    "size": {"height": 64, "width": 96},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def _swin() -> Any:
    stages = [f"stage{n}" for n in (1, 2, 3, 4)]
    return transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4, out_features=stages
    )


def _resnet() -> Any:
    stages = [f"stage{n}" for n in (1, 2, 3, 4)]
    sizes = [8, 16, 24, 32]
    return transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=sizes, depths=[1] * 4, layer_type="basic", out_features=stages
    )


def export_open(model: Any, path: Path, outputs: list[str], *, mask: bool) -> None:
    """A graph that takes pictures of any sides, as optimum writes it; mask: and `pixel_mask` beside them."""

    class Opened(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            found = self.model(*inputs)
            return tuple(found[name] for name in outputs)

    inputs = {"pixel_values": torch.randn(1, 3, 64, 96)}
    axes = {"pixel_values": {2: "height", 3: "width"}, outputs[1]: {2: "h", 3: "w"}}
    if mask:
        inputs["pixel_mask"] = torch.ones(1, 64, 96, dtype=torch.long)
        axes["pixel_mask"] = {1: "height", 2: "width"}
    path.parent.mkdir()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Opened().eval(),
            tuple(inputs.values()),
            path,
            dynamo=False,
            opset_version=17,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
        )


def _detr_config(width: int, **more: Any) -> Any:
    counts = dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 8)
    sizes = dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 16)
    return transformers.DetrConfig(
        backbone_config=_resnet(),
        use_timm_backbone=False,
        d_model=width,
        num_queries=12,
        **counts,
        **heads,
        **sizes,
        **more,
    )


def build(kind: str) -> Any:
    """A model of that kind, in evaluation."""
    labels = {"id2label": {number: f"thing {number}" for number in range(CLASSES)}}
    sizes = {"hidden_dim": 32, "encoder_feedforward_dim": 16, "dim_feedforward": 16, "encoder_layers": 1}
    sizes |= {"decoder_layers": 2, "num_attention_heads": 2, "num_queries": 12}
    match kind:
        case "maskformer":
            decoder = _detr_config(32)
            config: Any = transformers.MaskFormerConfig(
                backbone_config=_swin(), decoder_config=decoder, mask_feature_size=32, fpn_feature_size=32, **labels
            )
            return transformers.MaskFormerForInstanceSegmentation(config).eval()
        case "maskformer-resnet":  # which the exporter can follow with open sides
            config = transformers.MaskFormerConfig(
                backbone_config=_resnet(), decoder_config=_detr_config(32), mask_feature_size=32, fpn_feature_size=32,
                **labels,
            )  # fmt: skip
            return transformers.MaskFormerForInstanceSegmentation(config).eval()
        case "mask2former":
            sizes["use_auxiliary_loss"] = True  # its forward fails without
            config = transformers.Mask2FormerConfig(
                backbone_config=_swin(), feature_size=32, mask_feature_size=32, **sizes, **labels
            )
            return transformers.Mask2FormerForUniversalSegmentation(config).eval()
        case "oneformer":
            text = {"text_encoder_width": 32, "text_encoder_num_layers": 1, "text_encoder_vocab_size": 600}
            config = transformers.OneFormerConfig(
                backbone_config=_swin(), mask_dim=32, conv_dim=32, query_dec_layers=1, **text, **sizes, **labels
            )
            return transformers.OneFormerForUniversalSegmentation(config).eval()
        case "detr":
            return transformers.DetrForSegmentation(_detr_config(64, **labels)).eval()
        case "segformer":
            heads = {"num_attention_heads": [1, 1, 2, 2], "hidden_sizes": [8, 16, 24, 32], "depths": [1] * 4}
            config = transformers.SegformerConfig(decoder_hidden_size=16, **heads, **labels)
            return transformers.SegformerForSemanticSegmentation(config).eval()
        case "beit":
            config = transformers.BeitConfig(
                image_size=64, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
                out_indices=[1, 2, 3, 4], use_auxiliary_head=False, pool_scales=[1, 2, 3, 6], **labels,
            )  # fmt: skip
            return transformers.BeitForSemanticSegmentation(config).eval()
        case "upernet":
            config = transformers.UperNetConfig(
                backbone_config=_swin(), hidden_size=16, use_auxiliary_head=False, **labels
            )
            return transformers.UperNetForSemanticSegmentation(config).eval()
        case "mobilevitv2":
            config = transformers.MobileViTV2Config(image_size=64, width_multiplier=0.25, **labels)
            model = transformers.MobileViTV2ForSemanticSegmentation(config)
            with torch.no_grad():
                for _ in range(5):  # an untrained batch norm makes everything about zero
                    model(torch.rand(2, 3, 64, 96))
            return model.eval()
        case "clipseg":
            sizes = {"hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
            text = {**sizes, "vocab_size": 200, "bos_token_id": 188, "eos_token_id": 189, "pad_token_id": 189}
            config = transformers.CLIPSegConfig(
                text_config=text, vision_config={**sizes, "image_size": 64, "patch_size": 16}, projection_dim=32,
                reduce_dim=16, extract_layers=[0, 1, 2], decoder_num_attention_heads=2, decoder_intermediate_size=16,
            )  # fmt: skip
            return transformers.CLIPSegForImageSegmentation(config).eval()
        case _:
            raise AssertionError(kind)


def enliven(model: nn.Module) -> None:
    """Weights as large as training makes them, and few queries for "no object": else ties decide who gets a pixel."""
    last: Any = None  # layer of the masks
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "quer" in name and ("embed" in name or "features" in name) and parameter.dim() == 2:
                parameter.normal_(0, 2)
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and module.out_features == CLASSES + 1:
                module.weight.normal_(0, 1.5)
                module.bias.normal_(0, 1)
                module.bias[-1] = -6
            elif "mask_embed" in name and isinstance(module, nn.Linear):
                module.weight.normal_(0, 0.35)
                module.bias.zero_()
                last = module
            elif name.endswith(("k_proj", "q_proj")):
                module.weight.mul_(1 if "bbox" in name else 6)
            elif name.startswith("detr.") and name.endswith(("v_proj", "o_proj", "out_proj")):
                module.weight.mul_(4)  # else the queries of so shallow a decoder hardly differ
            elif name == "mask_head.conv1.conv":
                module.weight[:, 64:].mul_(60)  # what each query attends to, beside what all of them see
            elif name == "mask_head.output_conv":
                last = module
        if last is None:
            _enlarge_logits(model)
            return
        masks = _masks(model)
        last.weight.mul_(3 / masks.std())
        if last.bias is not None:
            last.bias.mul_(3 / masks.std())
        if "Detr" in type(model).__name__:
            last.bias.sub_(_masks(model).mean())


def _enlarge_logits(model: Any) -> None:
    """Scores of classes as far apart as training makes them: of next to nothing every difference is small."""
    heads = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.out_channels == CLASSES]
    if heads:
        gain = 3 / model(torch.randn(1, 3, 64, 96)).logits.std()
        for parameter in heads[-1].parameters():
            parameter.mul_(gain)


def _masks(model: nn.Module) -> torch.Tensor:
    """Mask logits for a picture of patches."""
    patches = torch.randn(1, 3, 4, 6).repeat_interleave(16, 2).repeat_interleave(16, 3)
    tokens = (torch.arange(77)[None],) if "OneFormer" in type(model).__name__ else ()
    found = model(patches, *tokens)
    masks: torch.Tensor = found["pred_masks" if "pred_masks" in found else "masks_queries_logits"]
    return masks


def save(kind: str, folder: Path, *, seed: int = 3, **processor: Any) -> Any:
    """A folder as transformers writes it, and the model in it."""
    torch.manual_seed(seed)
    model = build(kind)
    enliven(model)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | processor))
    if kind in ("oneformer", "clipseg"):
        save_tokenizer(folder)
    return model


def save_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer without its merges: each character is a token."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77})
    )
