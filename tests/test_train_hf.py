"""`rtseg export hf`: checkpoints of transformers as ONNX files that say what the originals say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from commands import PATTERN, Rtseg, runner
from originals import original
from query_checkpoints import CLASSES, save, save_tokenizer, transformers

from rtseg import store
from rtseg.cards import Card, CardQueries
from rtseg.config import ModelOptions
from rtseg.engines import build_segmenter
from rtseg.errors import ModelNotFound, ModelRejected
from rtseg.inference.engine import OrtEngine
from rtseg.ops.queries import Kind
from rtseg.results import Instances, Panoptic, Semantic
from rtseg.segmenters.prompted import PromptedSegmenter
from rtseg.segmenters.queries import QuerySegmenter
from rtseg.tokens import TASKS, task_tokens
from rtseg.train import hf
from rtseg.train.hf import HfExport, export_checkpoint
from rtseg.types import Frame

KINDS: tuple[Kind, ...] = ("maskformer", "mask2former", "oneformer", "detr")
LOOSE = {"threshold": 0.3, "mask_threshold": 0.5, "overlap_mask_area_threshold": 0.1}


class Checkpoints:
    """Tiny checkpoints, each made and exported once, when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[str, tuple[Any, HfExport]] = {}

    def __call__(self, kind: str) -> tuple[Any, HfExport]:
        """The model of transformers and its export."""
        if kind not in self._made:
            model = save(kind, self.folder / kind)
            self._made[kind] = model, export_checkpoint(self.folder / kind, self.folder / "out")
        return self._made[kind]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    return Checkpoints(tmp_path_factory.mktemp("checkpoints"))


def frames(count: int) -> list[Frame]:
    """Patches of colour with noise, of different sizes."""
    found = []
    for seed in range(count):
        chance = np.random.default_rng(seed)
        width, height = (int(side) * 2 for side in chance.integers(30, 70, 2))
        patches = chance.integers(0, 230, (height // 20 + 1, width // 20 + 1, 3)).repeat(20, axis=0).repeat(20, axis=1)
        noise = chance.integers(0, 25, (height, width, 3))
        found.append(Frame.from_rgb((patches[:height, :width] + noise).astype(np.uint8), index=seed, pts=seed))
    return found


def with_queries(card: Card, **changes: Any) -> Card:
    assert card.queries is not None
    values = {**card.queries.model_dump(), **LOOSE, **changes}
    return card.model_copy(update={"queries": CardQueries.model_validate(values)})


class Recording(OrtEngine):
    """An engine that remembers what went in and what came out."""

    def run(self) -> Any:
        found = super().run()
        self.taken = {name: array.copy() for name, array in self.inputs.items()}
        self.given = {name: array.copy() for name, array in found.items()}
        return found


def torch_outputs(model: Any, taken: dict[str, Any], names: list[str]) -> dict[str, Any]:
    with torch.no_grad():
        found = model(**{name: torch.from_numpy(array) for name, array in taken.items()})
    return {name: found[name].numpy() for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_on_twenty_pictures_outputs_and_segments_are_those_of_transformers(
    kind: Kind, checkpoints: Checkpoints
) -> None:
    model, done = checkpoints(kind)
    assert done.difference < 1e-3
    engine = Recording(store.verify(done.card), shapes={"pixel_values": done.card.input.shape})
    segments, worst = dict.fromkeys(TASKS, 0), 0.0
    for frame in frames(20):
        size = (frame.size.width, frame.size.height)
        for task in TASKS:
            card = with_queries(done.card, task=task, resolution="frame")
            result = QuerySegmenter(card, engine)(frame)
            if kind == "oneformer" or task == TASKS[0]:  # others are not told their task
                right = torch_outputs(model, engine.taken, list(engine.given))
                worst = max(worst, *(float(np.abs(engine.given[name] - right[name]).max()) for name in right))
            assert card.queries is not None
            classes, masks = (engine.given[name][0] for name in (card.queries.classes, card.queries.masks))
            options: dict[str, Any] = {} if task == "semantic" else dict(LOOSE)
            if task == "panoptic":
                options["label_ids_to_fuse"] = set()
            theirs = original(kind, task, classes, masks, size=size, **options)
            segments[task] += check_result(result, theirs)
    assert worst <= 1e-3
    assert min(segments.values()) >= 20, segments  # or nothing was compared


def check_result(result: Semantic | Instances | Panoptic, theirs: Any) -> int:
    """Labels, ids, scores and masks of a result against the original's; how many segments that were."""
    match result:
        case Semantic():
            assert (result.labels == theirs.numpy()).mean() > 0.999
            return len(np.unique(result.labels))
        case Panoptic():
            numbers = [segment.id for segment in result.segments_info]
            labels = [segment.label for segment in result.segments_info]
            scores = [segment.score for segment in result.segments_info]
        case Instances():
            numbers = [segment["id"] for segment in theirs["segments_info"]]  # a result has none
            labels, scores = result.labels.tolist(), result.scores.tolist()
    assert numbers == [segment["id"] for segment in theirs["segments_info"]]
    assert labels == [segment["label_id"] for segment in theirs["segments_info"]]
    assert scores == pytest.approx([segment["score"] for segment in theirs["segments_info"]], rel=1e-5)
    for segment, number in zip(result.segments(), numbers, strict=True):
        ours, wanted = segment["mask"] == 255, theirs["segmentation"].numpy() == number
        assert (ours & wanted).sum() >= 0.99 * (ours | wanted).sum()
    return len(labels)


def test_oneformer_is_told_its_task(checkpoints: Checkpoints) -> None:
    _, done = checkpoints("oneformer")
    engine = Recording(store.verify(done.card))
    frame = frames(1)[0]
    told = {}
    for task in TASKS:
        QuerySegmenter(with_queries(done.card, task=task), engine)(frame)
        told[task] = engine.taken["task_inputs"].copy()
        assert done.card.queries is not None
        assert told[task].tolist() == [list(done.card.queries.tokens[task])]
    from transformers import AutoTokenizer
    from transformers.models.oneformer.processing_oneformer import OneFormerProcessor

    processor: Any = object.__new__(OneFormerProcessor)
    processor.tokenizer = AutoTokenizer.from_pretrained(checkpoints.folder / "oneformer")
    wanted = processor._preprocess_text(["the task is instance"], max_length=77)
    np.testing.assert_array_equal(told["instance"], wanted)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["segformer", "beit", "upernet", "mobilevitv2"])
def test_networks_of_one_map_become_semantic_models(kind: str, checkpoints: Checkpoints) -> None:
    model, done = checkpoints(kind)
    assert done.difference < 1e-3
    assert (done.card.family, len(done.card.names)) == ("semantic", CLASSES)
    engine = Recording(store.verify(done.card), shapes={"pixel_values": done.card.input.shape})
    result = build_segmenter(ModelOptions(), done.card, engine=engine)(frames(1)[0])
    assert isinstance(result, Semantic)
    right = torch_outputs(model, engine.taken, ["logits"])["logits"]
    assert np.abs(engine.given["logits"] - right).max() < 1e-3
    assert (result.labels == right[0].argmax(0)).mean() > 0.999


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rtseg:
    monkeypatch.chdir(tmp_path)
    return runner(capsys)


def test_from_a_folder_to_a_live_overlay(rtseg: Rtseg) -> None:
    save("detr", Path("My DETR"))
    done = rtseg("export", "hf", "My DETR", "-o", "out", "--size", "96x64", "--fuse", "thing 3,thing 4", "--json")
    assert done.code == 0, done.err
    assert done.json["name"] == "my-detr"
    assert done.json["difference"] <= 1e-3
    card = store.find_card("out/my-detr.toml")
    assert card.queries is not None
    assert (card.queries.kind, card.queries.task, card.queries.fuse) == ("detr", "panoptic", ("thing 3", "thing 4"))
    assert card.input.size == (96, 64)
    video = rtseg("run", PATTERN, "-o", "out.mkv", "--model", "out/my-detr.toml", "--overlay", "all")
    assert video.code == 0, video.err
    assert Path("out.mkv").stat().st_size > 1000


def test_clipseg_becomes_two_graphs_whose_prompts_may_change(rtseg: Rtseg, tmp_path: Path) -> None:
    model = save("clipseg", tmp_path / "clip", size={"height": 64, "width": 64})  # it takes squares only
    done = rtseg("export", "hf", "clip", "-o", "out", "--prompts", "a cat,dog", "--json")
    assert done.code == 0, done.err
    card = store.find_card("out/clip.toml")
    assert (card.family, card.names) == ("prompted", ("a cat", "dog"))
    segmenter = build_segmenter(ModelOptions(), card)
    assert isinstance(segmenter, PromptedSegmenter)
    segmenter.prompts = ("dog", "a cat")
    result = segmenter(frames(1)[0])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "clip", local_files_only=True)
    tokens = tokenizer(["dog", "a cat"], padding=True, return_tensors="pt")
    pictures = torch.from_numpy(segmenter._engine.inputs["pixel_values"]).expand(2, -1, -1, -1)
    with torch.no_grad():
        wanted = model(pixel_values=pictures, **tokens).logits
    assert not torch.allclose(wanted[0], wanted[1], atol=1e-2)  # or the order would not matter
    np.testing.assert_allclose(result.probabilities / 255, wanted.sigmoid().numpy(), atol=0.003)

    half = rtseg("export", "hf", "clip", "-o", "half", "--half", "--json")
    assert (half.code, half.json["difference"] <= 1e-3, half.json["halved"] > 0) == (0, True, True)
    small = store.find_card("half/clip.toml")
    assert small.names == ("a person",)
    assert store.verify(small).stat().st_size < 0.8 * store.verify(card).stat().st_size
    assert "squares of 16 pixel patches" in rtseg("export", "hf", "clip", "-o", "x", "--size", "64x48").error()
    (tmp_path / "clip" / "vocab.json").unlink()
    assert "clip has no tokenizer" in rtseg("export", "hf", "clip", "-o", "x", "--prompts", "cat").error()
    assert not Path("x").exists()


def test_what_is_not_there_cannot_be_fused(rtseg: Rtseg) -> None:
    save("detr", Path("mine"))
    said = rtseg("export", "hf", "mine", "-o", "out", "--fuse", "thing 3,cloud").error()
    assert "--fuse has ['cloud'], which DetrForSegmentation has no segments of: it knows thing 0, thing 1" in said
    assert not Path("out").exists()


def test_half_the_file_and_the_same_numbers(checkpoints: Checkpoints, tmp_path: Path) -> None:
    _, whole = checkpoints("detr")
    half = export_checkpoint(checkpoints.folder / "detr", tmp_path, half=True)
    assert half.difference <= 1e-3
    assert half.halved is not None
    assert 1e-5 < half.halved < 0.2
    assert half.path.stat().st_size < 0.75 * whole.path.stat().st_size
    graph = onnx.load(half.path).graph
    assert any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer)
    assert {port.type.tensor_type.elem_type for port in (*graph.input, *graph.output)} == {onnx.TensorProto.FLOAT}


def copied(checkpoints: Checkpoints, kind: str, to: Path) -> Path:
    checkpoints(kind)
    return Path(shutil.copytree(checkpoints.folder / kind, to / kind))


def test_a_difference_from_torch_is_refused_and_leaves_nothing(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(checkpoints, "segformer", tmp_path)
    monkeypatch.setattr(hf, "compare", lambda *_: {"logits": float("nan")})
    with pytest.raises(ModelRejected, match=r"differs from torch by nan in logits, allowed is 0\.001"):
        export_checkpoint(folder, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("Sam2Model", "takes points or boxes beside the picture"),
        ("LlamaForCausalLM", "what can be is SegformerForSemanticSegmentation, "),
    ],
)
def test_what_cannot_be_exported_fails_with_the_reason(rtseg: Rtseg, architecture: str, reason: str) -> None:
    Path("mine").mkdir()
    Path("mine/config.json").write_text(json.dumps({"architectures": [architecture]}))
    done = rtseg("export", "hf", "mine", "-o", "out")
    assert done.code == ModelRejected.exit_code
    assert f"mine holds the architecture {architecture}, which cannot be exported: " in done.error()
    assert reason in done.error()


def test_a_folder_without_its_files_is_one_line(rtseg: Rtseg, checkpoints: Checkpoints, tmp_path: Path) -> None:
    done = rtseg("export", "hf", "nowhere", "-o", "out")
    assert done.code == ModelNotFound.exit_code
    assert "nowhere/config.json cannot be read: No such file" in done.error()
    folder = copied(checkpoints, "segformer", tmp_path)
    (folder / "model.safetensors").write_bytes(b"rubbish")
    assert "cannot be loaded as SegformerForSemanticSegmentation" in rtseg("export", "hf", folder, "-o", "out").error()
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")  # unpickling runs whatever is in there
    assert "cannot be loaded as SegformerForSemanticSegmentation" in rtseg("export", "hf", folder, "-o", "out").error()
    (folder / "preprocessor_config.json").unlink()
    assert "preprocessor_config.json cannot be read" in rtseg("export", "hf", folder, "-o", "out").error()
    assert "give width and height in pixels" in rtseg("export", "hf", folder, "-o", "out", "--size", "96").error()


def test_weights_that_are_missing_are_not_made_up(checkpoints: Checkpoints, tmp_path: Path) -> None:
    model, _ = checkpoints("segformer")
    folder = copied(checkpoints, "segformer", tmp_path)
    weights = {name: tensor for name, tensor in model.state_dict().items() if "decode_head" not in name}
    model.save_pretrained(folder, state_dict=weights)
    with pytest.raises(ModelRejected, match=r"lacks \d+ weights of SegformerForSemanticSegmentation, such as decode_"):
        export_checkpoint(folder, tmp_path / "out")


def test_a_size_that_the_network_does_not_take_is_refused(checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder = copied(checkpoints, "beit", tmp_path)
    with pytest.raises(ModelRejected, match=r"does not run at this size: "):
        export_checkpoint(folder, tmp_path / "out", size=(1, 1))


def test_oneformer_without_its_tokenizer_is_refused(checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder = copied(checkpoints, "oneformer", tmp_path)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelRejected, match="cannot be used to tell OneFormer its task"):
        export_checkpoint(folder, tmp_path / "out")
    save_tokenizer(folder)
    assert len(set(task_tokens(folder, 77).values())) == 3
