"""Masks that a model makes of pictures, to be corrected: what a person would have to draw is then mostly there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from rtseg import store
from rtseg.build import build_pipeline, build_source
from rtseg.cards import Card
from rtseg.config import Config, ImageSource
from rtseg.datasets import DataSet, MaskKind
from rtseg.errors import ConfigError, SourceError
from rtseg.labels.folder import UNKNOWN, mask_path, pictures, write_mask
from rtseg.ops.arrays import U8
from rtseg.ops.resize import resize
from rtseg.sinks.masks import mask_images
from rtseg.types import Segmentation, Semantic, masks_of

WantedKind: TypeAlias = Literal["auto", "binary", "alpha", "index"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What masks are to hold. kind: as in `DataSet`. regions: name -> its value in an index mask; 255 in others."""

    card: Card
    kind: MaskKind
    regions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Made:
    """What was done. made, kept: masks. failures: picture -> why it could not be read."""

    made: int
    kept: int
    failures: Mapping[Path, str] = field(default_factory=dict)


def plan(model: str, *, regions: Sequence[str] | None = None, kind: WantedKind = "auto") -> Plan:
    """Which masks a model can make: regions None are all it knows. Raises ConfigError and ModelNotFound."""
    card = store.find_card(model)
    names = list(dict.fromkeys(card.names if regions is None else regions))
    if unknown := [name for name in names if name not in card.names] or not names:
        given = ", ".join(map(repr, unknown)) if isinstance(unknown, list) else "nothing"
        raise ConfigError(f"model {card.name!r} knows no region {given}: choose from {', '.join(card.names)}")
    if kind == "auto":
        kind = "binary" if len(names) == 1 and card.family == "regions" else "index"
    if kind != "index" and len(names) > 1:
        raise ConfigError(
            f"kind {kind!r} holds one region, not {', '.join(names)}: choose one with --regions, or use --kind index"
        )
    if kind == "index" and len(names) >= UNKNOWN:
        raise ConfigError(f"an index mask holds up to 254 regions, not {len(names)}: choose some with --regions")
    values = {name: number if kind == "index" else 255 for number, name in enumerate(names, start=1)}
    return Plan(card, kind, values)


def prelabel(data: DataSet, wanted: Plan, config: Config) -> Made:
    """Make the masks that the pictures of a folder do not have; those that are there are kept as they are.

    config: its model section says where the network runs. Raises SourceUnreadable where no picture can be read, and
    EngineError: a mask is never that of another picture.
    """
    found = pictures(data.folder)
    missing = [path for stem, path in found.items() if not mask_path(data, stem).exists()]
    kept = len(found) - len(missing)
    if not missing:
        return Made(0, kept)
    options = ImageSource(paths=tuple(missing))
    pipeline = build_pipeline(
        config.model_copy(update={"source": options, "effects": ()}), card=wanted.card, pictures=False
    )
    source: Any = build_source(options)
    made = 0
    try:
        for frame in source:
            segmentation = pipeline.segmenter(frame)
            for stage in pipeline.filters:
                segmentation = stage(frame, segmentation)
            values = mask_values(segmentation, frame.size, wanted.kind, wanted.regions)
            write_mask(data, source.paths[frame.index].stem, values)
            made += 1
    except SourceError:
        if not kept:
            raise
    return Made(made, kept, dict(source.failures))


def mask_values(segmentation: Segmentation, size: tuple[int, int], kind: MaskKind, regions: Mapping[str, int]) -> U8:
    """The mask of a result, uint8 HxW at `size` (width, height).

    "alpha": the probability; "binary": 0 or 255; "index": the value of the region that is likeliest and over a half,
    0 where none is, 255 where a class map says nothing.
    """
    if isinstance(segmentation, Semantic) and kind == "index":
        table = np.zeros(65536, np.uint8)
        table[np.iinfo(segmentation.labels.dtype).max] = UNKNOWN
        for name, value in regions.items():
            table[segmentation.names.index(name)] = value
        values: U8 = table[mask_images(segmentation, size)[""]]
        return values
    masks = masks_of(segmentation)
    empty = np.zeros((size[1], size[0]), np.uint8)
    planes = [resize(masks[name], size) if name in masks else empty for name in regions]
    if kind == "alpha":
        return planes[0]
    likeliest, values = empty + 127, empty.copy()
    for plane, value in zip(planes, regions.values(), strict=True):
        values[plane > likeliest] = value
        likeliest = np.maximum(likeliest, plane)
    return values
