"""Folders of the hub whose networks are told more than a picture: a task, prompts, where padding is."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import graphs
import numpy as np
import onnx
import pytest
from checkpoints import pictures
from onnx import TensorProto, helper
from originals import original
from PIL import Image

import rtseg
from rtseg import store
from rtseg.errors import ConfigError, ModelRejected
from rtseg.layouts import find_layout
from rtseg.tokens import TASKS, task_tokens

torch: Any = pytest.importorskip("torch", reason="the original is in rtseg[segformer]")
transformers: Any = pytest.importorskip("transformers", reason="the original is in rtseg[segformer]")
pytest.importorskip("tokenizers", reason="prompts and tasks need the extra `prompts`")

from query_checkpoints import save  # noqa: E402
from test_segment_exact import check_list  # noqa: E402
from tiny_clipseg import SIDE, clip_tokenizer, make_checkpoint, vocabulary  # noqa: E402

from rtseg.train.clipseg import load_clipseg  # noqa: E402
from rtseg.train.hf import export_checkpoint  # noqa: E402

LOOSE = {"threshold": 0.3, "mask_threshold": 0.5, "overlap_mask_area_threshold": 0.1}
PROMPTS = ("the cat", "red dog", "a")


@pytest.fixture(scope="module")
def oneformer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The model, and its folder with a graph that takes a picture and its task."""
    folder = tmp_path_factory.mktemp("oneformer")
    model = save("oneformer", folder, seed=5, image_processor_type="OneFormerImageProcessor")
    exported = export_checkpoint(folder, folder / "out")
    (folder / "onnx").mkdir()
    shutil.move(exported.path, folder / "onnx" / "model.onnx")
    shutil.rmtree(folder / "out")
    return model, folder


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one graph, whose number of tokens is open, as optimum writes it."""
    folder = make_checkpoint(tmp_path_factory.mktemp("clipseg"))
    model = load_clipseg(folder)

    class Whole(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, picture: Any, mask: Any) -> Any:
            return self.model(input_ids=ids, pixel_values=picture, attention_mask=mask).logits

    (folder / "onnx").mkdir()
    ids = torch.full((1, 20), vocabulary()["<|endoftext|>"])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Whole().eval(),
            (ids, torch.zeros(1, 3, SIDE, SIDE), torch.ones_like(ids)),
            folder / "onnx" / "model.onnx",
            dynamo=False,
            opset_version=17,
            input_names=["input_ids", "pixel_values", "attention_mask"],
            output_names=["logits"],
            dynamic_axes={"input_ids": {1: "length"}, "attention_mask": {1: "length"}},
        )
    return folder


def test_a_task_is_the_tokens_of_the_original_processor(oneformer: tuple[Any, Path]) -> None:
    _, folder = oneformer
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    processor = SimpleNamespace(tokenizer=tokenizer, max_seq_length=77)
    made = task_tokens(folder, 77)
    for task in TASKS:
        read = transformers.OneFormerProcessor._preprocess_text
        wanted = read(processor, [f"the task is {task}"], max_length=77)
        assert made[task] == tuple(wanted.ravel().tolist())
    assert len(set(made.values())) == 3


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_oneformer_in_a_folder_does_each_task_as_the_original(oneformer: tuple[Any, Path], task: Any) -> None:
    model, folder = oneformer
    layout = find_layout(str(folder))
    assert layout is not None
    assert layout.card.queries is not None
    assert store.verify(layout.card) == folder / "onnx" / "model.onnx"
    tokens = torch.tensor([layout.card.queries.tokens[task]])
    options: dict[str, Any] = {} if task == "semantic" else LOOSE
    counts = []
    for picture in pictures():
        with torch.no_grad():
            raw = model(torch.from_numpy(layout.processor(picture)), tokens)
        classes, masks = (raw[name].numpy()[0] for name in ("class_queries_logits", "masks_queries_logits"))
        size = (picture.shape[1], picture.shape[0])
        more: dict[str, Any] = {"label_ids_to_fuse": set()} if task == "panoptic" else {}
        theirs = original("oneformer", task, classes, masks, size=size, **options, **more)
        wanted = listed(theirs, layout.labels, semantic=task == "semantic")
        found = rtseg.segment(picture, model=folder, task=task, **options)
        check_list(found, wanted, picture.shape[:2])
        counts.append(len(found))
    assert max(counts) >= 2, "a network that sees one thing compares nothing"


def listed(theirs: Any, labels: Any, *, semantic: bool) -> list[dict[str, Any]]:
    """As transformers' pipeline lists it."""
    if semantic:
        return [
            {"label": labels[n], "score": None, "mask": (theirs.numpy() == n) * np.uint8(255)}
            for n in np.unique(theirs.numpy())
        ]
    ids = theirs["segmentation"].numpy()
    return [
        {"label": labels[each["label_id"]], "score": each["score"], "mask": (ids == each["id"]) * np.uint8(255)}
        for each in theirs["segments_info"]
    ]


def test_oneformer_runs_live(oneformer: tuple[Any, Path]) -> None:
    _, folder = oneformer
    pipeline = rtseg.load_pipeline(model=str(folder), overlay="all")
    found = pipeline(rtseg.Frame.from_rgb(pictures()[2])).segmentation
    assert isinstance(found, rtseg.Panoptic)


def test_oneformer_without_a_tokenizer_says_so(oneformer: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = oneformer
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    (broken / "vocab.json").unlink()
    with pytest.raises(ModelRejected, match=r"cannot be used to tell OneFormer its task: .* has no tokenizer"):
        find_layout(str(broken))


def test_a_mask_of_pixels_is_all_ones_where_nothing_is_padded(tmp_path: Path) -> None:
    """Of one size whatever the picture's, as some exports of DETR have it: masks here are nothing without it."""
    classes = np.zeros((1, 2, 3), np.float32)
    classes[0, 0, 0], classes[0, 1, 1] = 9, 9
    masks = np.full((1, 2, 4, 8), -9, np.float32)
    masks[0, 0, :, :3], masks[0, 1, :, 3:] = 9, 9
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "none"], ["no"]),
        helper.make_node("Add", ["no", "classes"], ["logits"]),
        helper.make_node("Cast", ["pixel_mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMin", ["seen"], ["least"], keepdims=0),
        helper.make_node("Mul", ["masks", "least"], ["pred_masks"]),
    ]
    (tmp_path / "onnx").mkdir()
    graphs.save(
        tmp_path / "onnx" / "model.onnx",
        nodes,
        inputs=[("x", (1, 3, "h", "w")), ("pixel_mask", (1, 5, 5))],
        outputs=[("logits", classes.shape), ("pred_masks", masks.shape)],
        constants={"none": np.zeros((), np.float32), "classes": classes, "masks": masks},
    )
    path = tmp_path / "onnx" / "model.onnx"
    model = onnx.load(path)
    model.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, path)
    config = {"architectures": ["DetrForSegmentation"], "id2label": {"0": "person", "1": "car"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    processor = {"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 32, "longest_edge": 64}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    picture = pictures()[0]
    assert [each["label"] for each in rtseg.segment(picture, model=tmp_path)] == ["person", "car"]
    live = rtseg.load_pipeline(model=str(tmp_path))(rtseg.Frame.from_rgb(picture)).segmentation
    assert list(rtseg.masks_of(live)) == ["person", "car"]


def test_clipseg_in_one_graph_paints_what_the_original_does(clipseg: Path) -> None:
    """To two levels of 255: one for rounding, one for the bilinear enlarging of rounded levels."""
    picture_processor = transformers.AutoImageProcessor.from_pretrained(clipseg)
    tokens = clip_tokenizer()(list(PROMPTS), padding=True, return_tensors="pt")
    model = load_clipseg(clipseg)
    seen = set()
    for picture in pictures():
        pixels = picture_processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            logits = model(pixel_values=pixels.expand(len(PROMPTS), -1, -1, -1), **tokens).logits
        large = torch.nn.functional.interpolate(logits[:, None].sigmoid(), picture.shape[:2], mode="bilinear")
        found = rtseg.segment(picture, model=clipseg, prompts=PROMPTS)
        assert [each["label"] for each in found] == list(PROMPTS)
        for each, wanted in zip(found, large[:, 0].numpy(), strict=True):
            assert np.abs(np.asarray(each["mask"]) - 255 * wanted).max() <= 2
        seen |= {np.asarray(each["mask"]).tobytes() for each in found}
    assert len(seen) == len(PROMPTS) * len(pictures()), "prompts that are all alike compare nothing"


def test_prompts_of_one_graph_change_while_a_stream_runs(clipseg: Path) -> None:
    pipeline = rtseg.load_pipeline(model=str(clipseg), prompts=["the cat", "red dog"])
    frame = rtseg.Frame.from_rgb(pictures()[2])
    before = rtseg.masks_of(pipeline(frame).segmentation)
    assert list(before) == ["the cat", "red dog"]
    pipeline.segmenter.prompts = ("red dog",)  # type: ignore[attr-defined]
    after = rtseg.masks_of(pipeline.segmenter(frame))
    assert list(after) == ["red dog"]
    assert np.ptp(after["red dog"]) > 10
    with pytest.raises(ConfigError, match="tokens, at most 20"):
        pipeline.segmenter.prompts = ("abcdefghij klmnopqrst uvwxyz",)  # type: ignore[attr-defined]


def test_a_prompted_folder_says_what_its_graph_lacks(clipseg: Path, tmp_path: Path) -> None:
    card = store.find_card(str(clipseg))
    assert card.text is not None
    assert (card.family, card.names, card.text.length) == ("prompted", ("a person",), 20)
    assert store.verify(card) == clipseg / "onnx" / "model.onnx"
    broken = Path(shutil.copytree(clipseg, tmp_path / "broken"))
    config = json.loads((broken / "tokenizer.json").read_text())
    (broken / "tokenizer.json").write_text(json.dumps({**config, "version": "2"}))
    copied = store.find_card(str(broken))
    (broken / "tokenizer.json").write_text(json.dumps(config))
    with pytest.raises(rtseg.ModelError, match=r"tokenizer\.json is damaged or another version"):
        store.verify(copied)
