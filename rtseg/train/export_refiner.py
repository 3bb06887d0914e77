"""A trained refiner as ONNX, and the card of the model whose mattes it redraws with one table more."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch

from rtseg import store
from rtseg.cards import Card, CardRefiner, read_card
from rtseg.errors import ModelError, ModelRejected
from rtseg.inference.engine import OrtEngine
from rtseg.ops.arrays import U8
from rtseg.train.blocks import fold_batch_norm
from rtseg.train.export import Export, trace, write_card
from rtseg.train.recipe import Recipe
from rtseg.train.refiner import DeployedRefiner, RefinerNetwork, planes_of

TOLERANCE = 2
"""Levels by which an alpha of ONNX Runtime may differ from torch's: sums in another order, then rounded."""


def export_refiner(
    recipe: Recipe, network: RefinerNetwork, folder: Path, *, pictures: Sequence[U8], trained_by: str = ""
) -> Export:
    """Write rtseg_NAME.onnx and NAME.toml into `folder`; the latter is the other model's card with [refiner].

    pictures: RGB uint8 HxWx3 of the recipe's size, to compare on. Raises ModelRejected where ONNX Runtime and torch
    differ by more than `TOLERANCE`, and where no card beside `model.start` names it.
    """
    base = _card_of(recipe.model.start)
    deployed = DeployedRefiner(copy.deepcopy(network.refiner).cpu().eval())
    fold_batch_norm(deployed)
    width, height = recipe.model.size
    planes = {"luma": (1, 1, height, width), "chroma": (1, 2, height // 2, width // 2)}
    shapes = planes | {"mask": (1, 1, height // 2, width // 2)}
    inputs = {name: torch.zeros(shape, dtype=torch.uint8) for name, shape in shapes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rtseg_{recipe.name.replace('-', '_')}.onnx"
    part = path.with_suffix(".part.onnx")
    onnx.save(trace(deployed, inputs, ["alpha"]), part)
    try:
        difference = max((_difference(part, deployed, network, picture) for picture in pictures), default=0)
        if difference > TOLERANCE:
            raise ModelRejected(
                f"the export of {recipe.name!r} differs from torch by {difference} levels, allowed are {TOLERANCE}: "
                "this is a fault of the exporter; try another version of torch or onnx"
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    refiner = CardRefiner(file=path.name, sha256=store.sha256_of(path), recipe=trained_by or recipe.hash)
    card = base.model_copy(update={"refiner": refiner})
    (folder / f"{recipe.name}.toml").write_text(write_card(card), encoding="utf-8")
    return Export(card, path, difference / 255.0)


def _card_of(graph: Path | None) -> Card:
    """The card that lies beside a graph and names it."""
    for path in sorted(graph.parent.glob("*.toml")) if graph is not None else ():
        try:
            card = read_card(path)
        except ModelError:
            continue
        if graph is not None and card.file == graph.name:
            return card
    raise ModelRejected(f"no card beside {graph} names it: a refiner is a part of a model, whose card it goes into")


def _difference(path: Path, deployed: DeployedRefiner, network: RefinerNetwork, picture: U8) -> int:
    """The largest one in levels, for the mask that the other network makes of the picture."""
    rgb = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255)
    with torch.no_grad():
        [mask] = network.base(torch.nn.functional.avg_pool2d(rgb, 2)).values()
        luma, chroma = planes_of(rgb)
        given = (luma, torch.nn.functional.avg_pool2d(chroma, 2), torch.sigmoid(mask))
        levels = [(plane * 255.0).round().clamp(0, 255).to(torch.uint8) for plane in given]
        wanted = deployed(*levels).numpy()
    named = zip(("luma", "chroma", "mask"), levels, strict=True)
    found = OrtEngine(path, warmup=0)({name: plane.numpy() for name, plane in named})["alpha"]
    return int(cv2.absdiff(wanted[0, 0], found[0, 0]).max())
