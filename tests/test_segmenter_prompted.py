"""Prompts without a network of thousands of weights: a graph whose every number can be said beforehand."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import graphs
import numpy as np
import pytest
from commands import PATTERN, runner
from fakes import plain_frame
from numpy.typing import NDArray
from onnx import TensorProto, helper

import rtseg
from rtseg import store
from rtseg.adaptive import Adaptive
from rtseg.build import build_pipeline
from rtseg.cards import Card
from rtseg.config import ModelOptions, parse_config
from rtseg.engines import build_engine, build_segmenter, with_prompts
from rtseg.errors import ConfigError, DependencyMissing, InferenceFailed, ModelCorrupt, ModelNotFound, ModelRejected
from rtseg.inference.engine import OrtEngine
from rtseg.ops.arrays import F32
from rtseg.options import configure
from rtseg.pipeline import Pipeline
from rtseg.segmenters.prompted import PromptedSegmenter
from rtseg.segmenters.text import TextEncoder, check_prompts
from rtseg.store import check_graph
from rtseg.streams import open_scheduler
from rtseg.types import Frame, Regions, Segmenter

tokenizers = pytest.importorskip("tokenizers", reason="prompts need the extra `prompts`")

WIDTH, LENGTH, SIZE = 2, 8, (16, 8)
WORDS = {word: index for index, word in enumerate(["<pad>", "<|startoftext|>", "cat", "dog", "sky", "<|endoftext|>"])}


def painter(path: Path, *, prompts: int | str = "prompts") -> Path:
    """Map n is vector n's first number everywhere, its second in the right half; the picture adds nothing but zeros."""
    right = np.zeros((1, 8, 16), np.float32)
    right[..., 8:] = 1
    nodes = [
        helper.make_node("Gather", ["vectors", "zero"], ["first"], axis=1),
        helper.make_node("Gather", ["vectors", "one"], ["second"], axis=1),
        helper.make_node("Unsqueeze", ["first", "axes"], ["everywhere"]),
        helper.make_node("Unsqueeze", ["second", "axes"], ["strength"]),
        helper.make_node("Mul", ["strength", "right"], ["half"]),
        helper.make_node("Add", ["everywhere", "half"], ["map"]),
        helper.make_node("ReduceMean", ["x"], ["grey"], axes=[1, 2, 3]),
        helper.make_node("Mul", ["grey", "nothing"], ["gone"]),
        helper.make_node("Squeeze", ["gone", "nil"], ["flat"]),
        helper.make_node("Add", ["map", "flat"], ["y"]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "axes": np.array([1, 2], np.int64),
        "nil": np.array([0], np.int64),
        "nothing": np.zeros((), np.float32),
        "right": right,
    }
    # Gather with a scalar takes the axis away: Nx2 -> N, then Nx1x1.
    return graphs.save(
        path,
        nodes,
        inputs=[("x", (1, 3, "h", "w")), ("vectors", (prompts, WIDTH))],
        outputs=[("y", (prompts, 8, 16))],
        constants=constants,
    )


def reader(path: Path) -> Path:
    """The vector of a text: logits of 2 for each cat everywhere, of 4 for each dog in the right half, less 1 in all."""
    table = np.zeros((len(WORDS), WIDTH), np.float32)
    table[WORDS["cat"]], table[WORDS["dog"]], table[WORDS["<|startoftext|>"]] = (2, 0), (0, 4), (-1, 0)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["each"]),
        helper.make_node("Cast", ["mask"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["column"]),
        helper.make_node("Mul", ["each", "column"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "middle"], ["vector"], keepdims=0),
    ]
    path = graphs.save(
        path,
        nodes,
        inputs=[("ids", (1, LENGTH)), ("mask", (1, LENGTH))],
        outputs=[("vector", (1, WIDTH))],
        constants={"table": table, "last": np.array([2]), "middle": np.array([1])},
        dtype=TensorProto.INT64,
    )
    import onnx

    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    onnx.save(model, path)
    return path


def word_tokenizer(path: Path) -> Path:
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers.models import WordLevel

    made = Tokenizer(WordLevel(WORDS, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>",
        special_tokens=[(word, WORDS[word]) for word in ("<|startoftext|>", "<|endoftext|>")],
    )
    made.enable_padding(length=64)
    made.enable_truncation(3)
    made.save(str(path))
    return path


def card_in(folder: Path, *, prompts: int | str = "prompts", **changes: Any) -> Card:
    image, text = painter(folder / "image.onnx", prompts=prompts), reader(folder / "text.onnx")
    tokenizer = word_tokenizer(folder / "words.json")
    values = {
        "name": "asked",
        "description": "",
        "family": "prompted",
        "file": image.name,
        "sha256": store.sha256_of(image),
        "licence": "CC0-1.0",
        "source": "",
        "names": ["cat"],
        "input": {"name": "x", "size": SIZE},
        "outputs": [{"name": "y", "activation": "sigmoid"}],
        "text": {
            "file": text.name,
            "sha256": store.sha256_of(text),
            "tokenizer": {tokenizer.name: store.sha256_of(tokenizer)},
            "width": WIDTH,
            "length": LENGTH,
            "ids": "ids",
            "mask": "mask",
            "output": "vector",
            "condition": "vectors",
        },
    }
    card = Card.model_validate(values | changes)
    card._folder = folder
    return card


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return card_in(tmp_path)


def made(card: Card, **options: Any) -> PromptedSegmenter:
    segmenter = build_segmenter(ModelOptions(**options), card)
    assert isinstance(segmenter, PromptedSegmenter)
    return segmenter


def halves(segmenter: Segmenter, frame: Frame | None = None) -> dict[str, tuple[int, int]]:
    """The level of each mask's left and right half."""
    result = segmenter(plain_frame() if frame is None else frame)
    assert isinstance(result, Regions)
    for mask in result.probabilities:
        assert len(np.unique(mask[:, :8])) == len(np.unique(mask[:, 8:])) == 1
    return {
        name: (int(mask[0, 0]), int(mask[0, -1])) for name, mask in zip(result.names, result.probabilities, strict=True)
    }


# Sigmoids of -1, 1 and 3, in levels.
FAINT, LIKELY, SURE = 69, 186, 243


def test_each_prompt_is_a_region(card: Card) -> None:
    segmenter = made(card, prompts=("dog", "sky", "cat"))
    assert segmenter.names == ("dog", "sky", "cat")
    assert halves(segmenter) == {"dog": (FAINT, SURE), "sky": (FAINT, FAINT), "cat": (LIKELY, LIKELY)}


def test_without_prompts_those_of_the_card_are_used(card: Card) -> None:
    assert halves(made(card)) == {"cat": (LIKELY, LIKELY)}


@pytest.mark.parametrize(("wanted", "at_once"), [("prompts", 1), (1, 1), (2, 2)])
def test_more_prompts_than_a_run_takes_are_several_runs(tmp_path: Path, wanted: int | str, at_once: int) -> None:
    segmenter = made(card_in(tmp_path, prompts=wanted))
    assert segmenter._engine.inputs["vectors"].shape == (at_once, WIDTH)
    segmenter.prompts = ("dog", "sky", "cat")
    assert halves(segmenter) == {"dog": (FAINT, SURE), "sky": (FAINT, FAINT), "cat": (LIKELY, LIKELY)}


def test_one_run_takes_the_prompts_that_it_began_with(card: Card) -> None:
    segmenter = made(card, prompts=("dog", "sky", "cat"))
    assert segmenter._engine.inputs["vectors"].shape == (3, WIDTH)
    segmenter.prompts = ("cat",)
    assert halves(segmenter) == {"cat": (LIKELY, LIKELY)}


def test_prompts_change_at_the_next_frame_and_are_read_in_the_setters_thread(
    card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = made(card)
    encode, readers = segmenter._encode, list[str]()
    assert isinstance(encode, TextEncoder)
    run = encode._engine.run

    def noted() -> Mapping[str, NDArray[Any]]:
        readers.append(threading.current_thread().name)
        return run()

    monkeypatch.setattr(encode._engine, "run", noted)
    before = halves(segmenter)
    setter = threading.Thread(target=lambda: setattr(segmenter, "prompts", ["sky", "dog"]), name="setter")
    setter.start()
    setter.join()
    assert (before, halves(segmenter)) == ({"cat": (LIKELY, LIKELY)}, {"sky": (FAINT, FAINT), "dog": (FAINT, SURE)})
    segmenter.prompts = ("cat", "sky")  # both are known
    assert readers == ["setter", "setter"]


def test_a_frame_never_sees_half_of_a_change(card: Card) -> None:
    """Names and masks belong together, however often another thread changes its mind."""
    segmenter = made(card)
    choices = [("cat",), ("dog", "sky"), ("sky", "cat", "dog")]
    right = {"cat": (LIKELY, LIKELY), "dog": (FAINT, SURE), "sky": (FAINT, FAINT)}
    done = threading.Event()

    def change() -> None:
        turn = 0
        while not done.is_set():
            segmenter.prompts = choices[turn % 3]
            turn += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        seen = [halves(segmenter) for _ in range(60)]
    finally:
        done.set()
        thread.join()
    for found in seen:
        assert tuple(found) in choices
        assert found == {name: right[name] for name in found}


def test_a_refused_prompt_leaves_the_old_ones(card: Card) -> None:
    segmenter = made(card)
    with pytest.raises(ConfigError, match="9 tokens, at most 8"):
        segmenter.prompts = ("sky", " ".join(["cat"] * 7))
    for wrong in ((), ("cat", "cat "), ("a/b",), ("a\nb",), ("x" * 65,), ("",), "cat"):
        with pytest.raises(ConfigError, match="prompt"):
            segmenter.prompts = wrong
    assert halves(segmenter) == {"cat": (LIKELY, LIKELY)}


def test_streams_of_a_scheduler_have_prompts_of_their_own(card: Card) -> None:
    with open_scheduler(ModelOptions(), card=card, parallel=1) as scheduler:
        one, other = (build_segmenter(ModelOptions(), card, engine=scheduler.stream()) for _ in range(2))
        assert isinstance(one, PromptedSegmenter)
        one.prompts = ("dog", "sky")
        assert halves(one) == {"dog": (FAINT, SURE), "sky": (FAINT, FAINT)}
        assert halves(other) == {"cat": (LIKELY, LIKELY)}


def test_empty_claims_nothing_of_what_is_asked(card: Card) -> None:
    segmenter = made(card, prompts=("dog", "sky"))
    empty = segmenter.empty(plain_frame(3))
    assert (empty.names, empty.probabilities.shape, empty.pts) == (("dog", "sky"), (2, 8, 16), 3)
    assert not empty.probabilities.any()
    segmenter.reset()
    assert segmenter.prompts == ("dog", "sky")
    assert isinstance(segmenter, Segmenter)


def test_a_letterboxed_mask_has_no_bars(tmp_path: Path) -> None:
    asked = card_in(tmp_path, input={"name": "x", "size": SIZE, "fit": "letterbox"})
    result = made(asked, prompts=("dog",))(plain_frame(size=(8, 8)))
    np.testing.assert_array_equal(result.probabilities[0, 0], [FAINT] * 4 + [SURE] * 4)


def test_what_cannot_be_a_probability_is_refused(tmp_path: Path) -> None:
    asked = card_in(tmp_path, outputs=[{"name": "y", "activation": "none"}])
    with pytest.raises(InferenceFailed, match="'y'"):
        made(asked, prompts=("dog",))(plain_frame())


def test_a_graph_that_gives_fewer_maps_than_prompts_is_refused(tmp_path: Path) -> None:
    """One map for all: two prompts must not share it."""
    asked = card_in(tmp_path)
    import onnx

    model = onnx.load(tmp_path / "image.onnx")
    model.graph.node[-1].output[0] = "each"
    model.graph.node.append(helper.make_node("ReduceMean", ["each"], ["y"], axes=[0]))
    onnx.save(model, tmp_path / "image.onnx")
    asked = asked.model_copy(update={"sha256": store.sha256_of(tmp_path / "image.onnx")})
    with pytest.raises(ModelRejected, match=r"2xHxW, one map a prompt, but it is \(1, 8, 16\)"):
        made(asked, prompts=("dog", "cat"))(plain_frame())


def test_infinite_logits_are_refused(card: Card) -> None:
    def infinite(_: str) -> F32:
        return np.array([np.inf, 0], np.float32)

    segmenter = PromptedSegmenter(card, build_engine(ModelOptions(), card), encode=infinite)
    with pytest.raises(InferenceFailed):
        segmenter(plain_frame())


def test_a_held_mask_is_one_of_the_same_prompts(card: Card) -> None:
    """When the network fails after a change of prompts, the old ones' masks do not pass for the new ones'."""
    segmenter = made(card)
    pipeline = Pipeline(segmenter)
    pipeline(plain_frame(0))
    segmenter.prompts = ("dog",)
    segmenter._current = ("dog",), np.array([[np.nan, 0]], np.float32)
    output = pipeline(plain_frame(1))
    assert output.held
    assert output.segmentation.names == ("dog",)
    assert isinstance(output.segmentation, Regions)
    assert not output.segmentation.probabilities.any()


def test_a_kept_mask_is_one_of_the_same_prompts(card: Card) -> None:
    segmenter = made(card)
    pipeline = Pipeline(segmenter, adaptive=Adaptive())
    assert [pipeline(plain_frame(i)).inferred for i in range(2)] == [True, False]
    segmenter.prompts = ("dog",)
    output = pipeline(plain_frame(2))
    assert (output.inferred, output.segmentation.names) == (True, ("dog",))


def no_words(_: str) -> F32:
    return np.zeros(WIDTH, np.float32)


def test_vectors_are_kept_by_prompt(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    assert card.text is not None
    assert card.folder is not None
    engine = OrtEngine(card.folder / str(card.text.file), warmup=0)
    encode = TextEncoder(card.text, engine, {name: card.folder / name for name in card.text.tokenizer})
    np.testing.assert_array_equal(encode("cat"), [1, 0])
    first = encode("dog")
    np.testing.assert_array_equal(first, [-1, 4])
    assert encode("dog") is first
    monkeypatch.setattr("rtseg.segmenters.text.KEPT", 2)
    encode("sky")  # now two are kept too many: the oldest, "cat", went
    assert list(encode._kept) == ["dog", "sky"]


def test_what_is_padded_is_masked(card: Card) -> None:
    """The reader adds up what the mask shows; the padding repeats the end's token, as CLIP's does."""
    assert card.text is not None
    assert card.folder is not None
    engine = OrtEngine(card.folder / str(card.text.file), warmup=0)
    encode = TextEncoder(card.text, engine, {name: card.folder / name for name in card.text.tokenizer})
    encode("cat dog")
    end = WORDS["<|endoftext|>"]
    assert engine.inputs["ids"].tolist() == [[1, WORDS["cat"], WORDS["dog"], *[end] * 5]]
    assert engine.inputs["mask"].tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]


def test_every_file_of_the_model_is_verified(card: Card) -> None:
    assert card.folder is not None
    store.verify(card)
    for name in ("text.onnx", "words.json"):
        path = card.folder / name
        right = path.read_bytes()
        path.write_bytes(right + b" ")
        with pytest.raises(ModelCorrupt, match=name):
            build_segmenter(ModelOptions(), card)
        path.unlink()
        with pytest.raises(ModelNotFound, match=name):
            build_segmenter(ModelOptions(), card)
        path.write_bytes(right)
    build_segmenter(ModelOptions(), card)


def test_a_text_graph_with_foreign_operators_is_refused(tmp_path: Path) -> None:
    asked = card_in(tmp_path)
    assert asked.text is not None
    nodes = [helper.make_node("Sly", ["ids"], ["vector"], domain="some.where")]
    bad = graphs.save(
        tmp_path / "text.onnx",
        nodes,
        inputs=[("ids", (1, LENGTH))],
        outputs=[("vector", (1, WIDTH))],
        domains=["some.where"],
    )
    text = asked.text.model_copy(update={"sha256": store.sha256_of(bad)})
    with pytest.raises(ModelRejected, match=r"some\.where"):
        store.verify(asked.model_copy(update={"text": text}))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ids", "tokens", "text"),
        ("output", "other", "none of that name"),
        ("width", 3, r"\(1, 3\) does not fit"),
        ("length", 9, "shape"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(card: Card, key: str, value: Any, message: str) -> None:
    assert card.text is not None
    wrong = card.model_copy(update={"text": card.text.model_copy(update={key: value})})
    wrong._folder = card.folder
    with pytest.raises(ModelRejected, match=message):
        build_segmenter(ModelOptions(), wrong)


@pytest.mark.parametrize(("key", "value", "message"), [("width", 3, r"shape \(1, 2\)"), ("length", 9, "int64")])
def test_a_text_graph_of_another_shape_is_refused(card: Card, key: str, value: int, message: str) -> None:
    assert card.text is not None
    assert card.folder is not None
    engine = OrtEngine(card.folder / str(card.text.file), warmup=0)
    wrong = card.text.model_copy(update={key: value})
    with pytest.raises(ModelRejected, match=message):
        TextEncoder(wrong, engine, {name: card.folder / name for name in wrong.tokenizer})("cat")


def test_an_engine_of_another_width_is_refused(card: Card) -> None:
    assert card.text is not None
    engine = build_engine(ModelOptions(), card)
    wrong = card.model_copy(update={"text": card.text.model_copy(update={"width": 3})})
    with pytest.raises(ModelRejected, match="Nx3"):
        PromptedSegmenter(wrong, engine, encode=no_words)


def test_a_condition_that_the_graph_lacks_is_refused(card: Card) -> None:
    assert card.text is not None
    assert card.folder is not None
    wrong = card.model_copy(update={"text": card.text.model_copy(update={"condition": "words"})})
    with pytest.raises(ModelRejected, match="has the inputs"):
        check_graph(card.folder / card.file, wrong)


def test_a_tokenizer_without_marks_is_refused(card: Card) -> None:
    assert card.folder is not None
    assert card.text is not None
    path = card.folder / "words.json"
    values = json.loads(path.read_text())
    values["post_processor"] = None
    path.write_text(json.dumps(values))
    engine = OrtEngine(card.folder / str(card.text.file), warmup=0)
    with pytest.raises(ModelRejected, match="begins and ends"):
        TextEncoder(card.text, engine, {"words.json": path})
    path.write_text("{}")
    with pytest.raises(ModelRejected, match="is no tokenizer"):
        TextEncoder(card.text, engine, {"words.json": path})


def test_without_the_tokenizer_the_extra_is_named(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DependencyMissing, match=r"pip install 'rtseg\[prompts\]'"):
        build_segmenter(ModelOptions(), card)


def test_a_card_is_prompted_or_has_no_text(card: Card) -> None:
    values = card.model_dump()
    for changes in (
        {"text": None},
        {"family": "semantic"},
        {"outputs": [{"name": "y"}, {"name": "z"}]},
        {"text": {**values["text"], "tokenizer": {"a.txt": "0" * 64}}},
        {"text": {**values["text"], "tokenizer": {"../a.json": "0" * 64}}},
    ):
        with pytest.raises(ValueError, match=r"prompted|\.json|tokenizer"):
            Card.model_validate({**values, **changes})


def test_prompts_are_for_models_that_read() -> None:
    portrait = store.find_card("portrait")
    with pytest.raises(ConfigError, match="prompts is for models that take prompts, and 'portrait' knows only person"):
        with_prompts(portrait, ModelOptions(prompts=("a cat",)))


def test_prompts_are_names_wherever_names_are_asked_for(card: Card) -> None:
    """Effects are checked against the prompts, not against the names on the card."""
    effects: list[dict[str, Any]] = [{"type": "outline", "names": ["dog"]}, {"type": "background", "paint": "blur"}]
    config = parse_config({"model": {"name": "x", "prompts": ["dog", "sky"]}, "effects": effects})
    pipeline = build_pipeline(config, card=card)
    assert pipeline(plain_frame(size=(64, 36))).segmentation.names == ("dog", "sky")
    with pytest.raises(ConfigError, match="'dog'"):
        build_pipeline(parse_config({"effects": effects}), card=card)


def test_the_command_line_looks_for_prompts(card: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rtseg.train.export import write_card

    path = tmp_path / "asked.toml"
    path.write_text(write_card(card))
    rtseg = runner(capsys)
    masks, records = tmp_path / "masks", tmp_path / "records.jsonl"
    arguments = ["--model", path, "--masks", masks, "--records", records, "--prompts", "a dog, sky", "-q"]
    assert rtseg("run", PATTERN, *arguments, "-o", tmp_path / "out.mp4").code == 0
    assert {file.name for file in masks.glob("000000.*")} == {"000000.a-dog.png", "000000.sky.png"}
    mask = cv2.imread(str(masks / "000000.a-dog.png"), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    assert (int(mask[0, 0]), int(mask[0, -1])) == (FAINT, SURE)
    lines = records.read_text().splitlines()
    assert len(lines) == 5
    assert '"a dog"' in lines[0]
    picture = tmp_path / "in.png"
    cv2.imwrite(str(picture), np.zeros((36, 64, 3), np.uint8))
    solid = ("--prompts", "dog", "--mask-threshold", 0.8, "-q")
    assert rtseg("segment", picture, "-o", tmp_path / "solid", "--model", path, *solid).code == 0
    mask = cv2.imread(str(tmp_path / "solid/in.png"), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    assert (int(mask[0, 0]), int(mask[0, -1])) == (0, 255)
    refused = rtseg("run", PATTERN, "--model", "portrait", "--masks", masks, "--prompts", "a dog")
    assert refused.code == 2
    assert "'portrait' knows only person" in refused.error()
    assert rtseg("models", "verify", path).code == 0


def test_a_pipeline_is_loaded_with_prompts_and_told_others(card: Card, tmp_path: Path) -> None:
    """As docs/prompts.md has it: legend and tints follow."""
    from rtseg.train.export import write_card

    (tmp_path / "asked.toml").write_text(write_card(card))
    pipeline = rtseg.load_pipeline(model=str(tmp_path / "asked.toml"), prompts=["cat"], overlay="all")
    first = pipeline(plain_frame(0, size=(320, 180)))
    pipeline.segmenter.prompts = ("dog", "sky")  # type: ignore[attr-defined]
    second = pipeline(plain_frame(1, size=(320, 180)))
    assert [first.segmentation.names, second.segmentation.names] == [("cat",), ("dog", "sky")]
    assert not np.array_equal(first.picture.rgb, second.picture.rgb)


def test_options_take_a_text_or_a_list() -> None:
    assert configure(prompts="a cat, a dog").model.prompts == ("a cat", "a dog")
    assert configure(prompts=["a cat, black"]).model.prompts == ("a cat, black",)
    assert check_prompts([" a cat "]) == ("a cat",)
    with pytest.raises(ConfigError):
        configure(prompts=" , ")
