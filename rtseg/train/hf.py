"""A checkpoint of transformers to an ONNX file with a card, compared with the original before it is believed."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxslim
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtseg import store
from rtseg.cards import Card, CardOutput, CardQueries, Task, read_card
from rtseg.errors import ConfigError, ModelRejected, RtsegError
from rtseg.inference.engine import OrtEngine
from rtseg.layouts import PROMPT
from rtseg.processor import read_processor
from rtseg.tokens import task_tokens
from rtseg.train.clipseg import export_clipseg
from rtseg.train.export import TOLERANCE, trace, write_card
from rtseg.train.half import halve_weights, keep_in_half
from rtseg.train.hf_card import class_names, default_size, licence_of, read_json, slug
from rtseg.train.hf_networks import (
    Architecture,
    Traced,
    architecture_of,
    import_transformers,
    load_network,
    single_precision,
)

_PICTURE = "pixel_values"
_TOKENS = "task_inputs"
_TRIALS = 3


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
    fuse: of networks with queries, see `CardQueries`. prompts: what CLIPSeg looks for until it is told; it becomes two
    graphs, see `rtseg.train.clipseg`. Raises
    ModelNotFound, ModelRejected (what cannot be exported, and outputs that differ by more than `TOLERANCE`; nothing is
    written then), ConfigError, DependencyMissing.
    """
    import_transformers()
    config = read_json(folder, "config.json")
    name, architecture = architecture_of(config, folder)
    if architecture.prompts:
        return _export_prompted(folder, output, size=size, half=half, prompts=prompts)
    if prompts:
        raise ConfigError(f"{name} has no prompts, the texts that say what is looked for: leave --prompts out")
    processor = read_processor(folder / "preprocessor_config.json", model_type=str(config.get("model_type")))
    picture = processor.card_input(_PICTURE, size or default_size(processor))
    model = load_network(name, folder)
    names = class_names(model.config.id2label)
    if strangers := sorted(set(fuse) - set(names if architecture.queries else ())):
        raise ConfigError(f"--fuse has {strangers}, which {name} has no segments of: it knows {', '.join(names)}")
    inputs: dict[str, Tensor] = {_PICTURE: torch.zeros(picture.shape)}
    tokens = task_tokens(folder, model.config.task_seq_len) if architecture.queries == "oneformer" else {}
    if tokens:
        inputs[_TOKENS] = torch.tensor([tokens[task]])
    module = Traced(model, architecture.outputs).eval()
    trials = _trials(inputs, picture.mean, picture.std)
    wanted = before = [_answers(module, trial, folder) for trial in trials]
    if half:
        halve_weights(module)
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
        family="queries" if architecture.queries else "semantic",
        file=path.name,
        sha256=store.sha256_of(path),
        licence=licence_of(folder),
        source=f"transformers, {folder.resolve().name}",
        input=picture,
        outputs=tuple(CardOutput(name=output) for output in architecture.outputs),
        names=names,
        metrics={"parity": float(f"{worst:.2g}")},
        queries=_queries(architecture, task, fuse, tokens),
    )
    written = output / f"{path.stem}.toml"
    written.write_text(write_card(card), encoding="utf-8")
    return HfExport(read_card(written), path, differences, halved)


def _export_prompted(
    folder: Path, output: Path, *, size: tuple[int, int] | None, half: bool, prompts: Sequence[str]
) -> HfExport:
    done = export_clipseg(
        folder,
        output,
        name=slug(folder.resolve().name),
        prompts=prompts or (PROMPT,),
        licence=licence_of(folder),
        source=f"transformers, {folder.resolve().name}",
        size=size,
        half=half,
    )
    return HfExport(done.card, done.path, {"logits": done.difference}, done.halved)


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


def _queries(
    architecture: Architecture, task: Task, fuse: Sequence[str], tokens: dict[Task, tuple[int, ...]]
) -> CardQueries | None:
    if architecture.queries is None:
        return None
    classes, masks = architecture.outputs
    return CardQueries(
        kind=architecture.queries, classes=classes, masks=masks, task=task, fuse=tuple(fuse), tokens=tokens
    )
