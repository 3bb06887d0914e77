"""A checkpoint of transformers to an ONNX file with a card, compared with the original before it is believed."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxslim
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from rtseg import store
from rtseg.cards import Card, CardOutput, CardQueries, Task, read_card
from rtseg.errors import ConfigError, ModelRejected, RtsegError
from rtseg.inference.engine import OrtEngine
from rtseg.train.export import TOLERANCE, trace, write_card
from rtseg.train.hf_card import card_input, class_names, licence_of, read_json, slug
from rtseg.train.hf_networks import (
    Architecture,
    Prompted,
    Traced,
    architecture_of,
    import_transformers,
    load_network,
    single_precision,
)

TASKS: tuple[Task, ...] = get_args(Task)
_PICTURE = "pixel_values"
_TOKENS = "task_inputs"
_TRIALS = 3
_NO_TASKS = "cannot be used to tell OneFormer its task (it needs vocab.json, merges.txt and tokenizer_config.json)"


@dataclass(frozen=True, slots=True)
class HfExport:
    """What was written; the largest difference from torch by output; what halving the weights alone changed."""

    card: Card
    path: Path
    differences: Mapping[str, float]
    halved: float | None = None

    @property
    def difference(self) -> float:
        """The largest of any output."""
        return max(self.differences.values())


def export_checkpoint(
    folder: Path,
    output: Path,
    *,
    size: tuple[int, int] | None = None,
    half: bool = False,
    task: Task = "panoptic",
    fuse: Sequence[str] = (),
    prompts: Sequence[str] = (),
) -> HfExport:
    """Write NAME.onnx and NAME.toml into `output`, NAME being the folder's.

    size: width, height of the input, default as preprocessor_config.json says. half: weights are kept in 16 bits, half
    the file; the graph computes in 32 still, so that parity with the rounded weights is as close as without. task,
    fuse: of networks with queries, see `CardQueries`. prompts: what CLIPSeg looks for, a region each. Raises
    ModelNotFound, ModelRejected (what cannot be exported, and outputs that differ by more than `TOLERANCE`; nothing is
    written then), ConfigError, DependencyMissing.
    """
    import_transformers()
    config = read_json(folder, "config.json")
    name, architecture = architecture_of(config, folder)
    picture = card_input(read_json(folder, "preprocessor_config.json"), _PICTURE, size)
    if architecture.prompts != bool(prompts):
        has, fix = ("needs", "give --prompts cat,dog") if architecture.prompts else ("has no", "leave --prompts out")
        raise ConfigError(f"{name} {has} prompts, the texts that say what is looked for: {fix}")
    model = load_network(name, folder)
    names = class_names(dict(enumerate(prompts)) or model.config.id2label)
    if strangers := sorted(set(fuse) - set(names if architecture.queries else ())):
        raise ConfigError(f"--fuse has {strangers}, which {name} has no segments of: it knows {', '.join(names)}")
    inputs: dict[str, Tensor] = {_PICTURE: torch.zeros(picture.shape)}
    tokens = task_tokens(folder, model.config.task_seq_len) if architecture.queries == "oneformer" else {}
    if tokens:
        inputs[_TOKENS] = torch.tensor([tokens[task]])
    if architecture.prompts:
        module: nn.Module = Prompted(model, prompt_tokens(folder, prompts)).eval()
    else:
        module = Traced(model, architecture.outputs).eval()
    trials = _trials(inputs, picture.mean, picture.std)
    wanted = before = [_answers(module, trial, folder) for trial in trials]
    if half:
        _halve_weights(module)
        wanted = [_answers(module, trial, folder) for trial in trials]
    graph = to_graph(module, inputs, architecture, folder)
    if half:
        keep_in_half(graph)
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{slug(folder.resolve().name)}.onnx"
    part = path.with_suffix(".part.onnx")
    onnx.save(graph, part)
    try:
        differences = compare(part, architecture.outputs, trials, wanted)
        _check(differences, folder)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    halved = max(_largest(a, b) for a, b in zip(before, wanted, strict=True)) if half else None
    worst = max(differences.values())
    card = Card(
        name=path.stem,
        description=f"{name}, exported from a checkpoint of transformers",
        family="queries" if architecture.queries else "regions" if prompts else "semantic",
        file=path.name,
        sha256=store.sha256_of(path),
        licence=licence_of(folder),
        source=f"transformers, {folder.resolve().name}",
        input=picture,
        outputs=tuple(_output(output, names if prompts else ()) for output in architecture.outputs),
        names=names,
        metrics={"parity": float(f"{worst:.2g}")},
        queries=_queries(architecture, task, fuse, tokens),
    )
    written = output / f"{path.stem}.toml"
    written.write_text(write_card(card), encoding="utf-8")
    return HfExport(read_card(written), path, differences, halved)


def to_graph(
    module: nn.Module, inputs: Mapping[str, Tensor], architecture: Architecture, folder: Path
) -> onnx.ModelProto:
    """The module as a slim graph; ModelRejected with the exporter's own reason where it gives up."""
    try:
        with single_precision(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            if architecture.dynamo:
                return _follow(module, inputs, architecture.outputs)
            return trace(module, inputs, architecture.outputs)
    except RtsegError:
        raise
    except Exception as error:  # of torch, onnx and whatever the model's code raises while it is followed
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelRejected(f"the checkpoint {folder} cannot be exported at this size: {reason}") from error


def _follow(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> onnx.ModelProto:
    """By torch's newer exporter, which prints what it does."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it says that torchvision is missing
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=18,
            input_names=list(inputs),
            output_names=list(outputs),
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = onnxslim.slim(program.model_proto)
    model.producer_name = "rtseg"
    return model


def compare(
    path: Path,
    names: Sequence[str],
    trials: Sequence[Mapping[str, NDArray[Any]]],
    wanted: Sequence[Mapping[str, NDArray[Any]]],
) -> dict[str, float]:
    """The largest difference of each raw output between the file in ONNX Runtime and what torch said."""
    engine = OrtEngine(path, providers=("cpu",), warmup=0, timeout=None)
    worst = dict.fromkeys(names, 0.0)
    for trial, right in zip(trials, wanted, strict=True):
        found = engine({name: trial[name] for name in engine.inputs})
        for name in names:
            worst[name] = max(worst[name], float(np.abs(found[name] - right[name]).max()))
    return worst


def _check(differences: Mapping[str, float], folder: Path) -> None:
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            raise ModelRejected(
                f"the export of {folder} differs from torch by {difference:.2g} in {name}, allowed is {TOLERANCE:g}: "
                "this is a fault of the exporter; try another size, or another version of torch"
            )


def _answers(module: nn.Module, trial: Mapping[str, NDArray[Any]], folder: Path) -> dict[str, NDArray[Any]]:
    try:
        with torch.no_grad():
            found = module(*(torch.from_numpy(array) for array in trial.values()))
    except Exception as error:  # whatever the model's code raises for a size that it does not take
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelRejected(f"the checkpoint {folder} does not run at this size: {reason}") from error
    names: tuple[str, ...] = module.outputs  # type: ignore[assignment]
    return {name: tensor.numpy() for name, tensor in zip(names, found, strict=True)}


def _largest(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def _trials(inputs: Mapping[str, Tensor], mean: Sequence[float], std: Sequence[float]) -> list[dict[str, NDArray[Any]]]:
    """Inputs to compare on: pictures of coloured patches with noise, normalised; the tokens as they are."""
    chance = np.random.default_rng(0)
    found = []
    for _ in range(_TRIALS):
        trial = {name: tensor.numpy() for name, tensor in inputs.items()}
        *_, height, width = trial[_PICTURE].shape
        patches = chance.random((1, 3, -(-height // 16), -(-width // 16))).repeat(16, axis=2).repeat(16, axis=3)
        picture = np.clip(patches[..., :height, :width] + chance.normal(0, 0.05, (1, 3, height, width)), 0, 1)
        shift, gain = (np.reshape(values, (3, 1, 1)) for values in (mean, std))
        trial[_PICTURE] = np.ascontiguousarray((picture - shift) / gain, np.float32)
        found.append(trial)
    return found


def _halve_weights(module: nn.Module) -> None:
    """Round every weight to what 16 bits hold."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.half().float())


def keep_in_half(model: onnx.ModelProto) -> None:
    """Keep float32 weights that 16 bits hold exactly in 16, cast where the graph begins; in place.

    ONNX Runtime folds the casts when it loads the file.
    """
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            small = values.astype(np.float16)
        if values.size < 16 or not np.array_equal(small.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(small, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)
    onnx.checker.check_model(model)


def task_tokens(folder: Path, length: int) -> dict[Task, tuple[int, ...]]:
    """What OneFormer is told for each task, "the task is ...", by the folder's tokenizer; its padding is 0."""
    transformers = import_transformers()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        texts = [f"the task is {task}" for task in TASKS]
        found = tokenizer(texts, padding="max_length", max_length=length, truncation=True)
    except Exception as error:  # OSError, ValueError, ImportError: whatever of a tokenizer is missing
        reason = " ".join(str(error).split())[:200]
        raise ModelRejected(f"the tokenizer of {folder} {_NO_TASKS}: {reason}") from error
    rows = np.array(found["input_ids"]) * np.array(found["attention_mask"])
    if len(np.unique(rows, axis=0)) < len(TASKS):  # one that found no vocabulary knows no word
        raise ModelRejected(f"the tokenizer of {folder} {_NO_TASKS}: its tokens are the same for every task")
    return {task: tuple(row) for task, row in zip(TASKS, rows.tolist(), strict=True)}


def prompt_tokens(folder: Path, prompts: Sequence[str]) -> dict[str, Tensor]:
    """What CLIPSeg takes for texts, by the folder's tokenizer; ModelRejected where that knows no word."""
    transformers = import_transformers()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        found = tokenizer([*prompts, "a", "b"], padding=True, return_tensors="pt")
    except Exception as error:  # OSError, ValueError, ImportError: whatever of a tokenizer is missing
        raise ModelRejected(
            f"the tokenizer of {folder} cannot be used: {' '.join(str(error).split())[:200]}"
        ) from error
    if torch.equal(found["input_ids"][-1], found["input_ids"][-2]):  # one that found no vocabulary knows no word
        raise ModelRejected(f"the tokenizer of {folder} knows no word: add vocab.json and merges.txt")
    return {name: found[name][:-2] for name in ("input_ids", "attention_mask")}


def _output(name: str, regions: Sequence[str]) -> CardOutput:
    if not regions:
        return CardOutput(name=name)
    return CardOutput(name=name, activation="sigmoid", regions={region: i for i, region in enumerate(regions)})


def _queries(
    architecture: Architecture, task: Task, fuse: Sequence[str], tokens: dict[Task, tuple[int, ...]]
) -> CardQueries | None:
    if architecture.queries is None:
        return None
    classes, masks = architecture.outputs
    return CardQueries(
        kind=architecture.queries, classes=classes, masks=masks, task=task, fuse=tuple(fuse), tokens=tokens
    )
