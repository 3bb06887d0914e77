"""Models over sets: every picture is read once, every model sees it, every region is scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from rtseg.datasets import DataSet, Part, Sample
from rtseg.evaluate.instances import InstanceTally, said_instances
from rtseg.evaluate.models import Model, known_regions, region_masks
from rtseg.evaluate.plan import Options
from rtseg.evaluate.scores import PictureScore, RegionTally, SetScores
from rtseg.types import Frame, Instances

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how much of it, and of how much."""

WORST = 24


@dataclass
class _Tally:
    """A model on a set, so far."""

    model: Model
    names: dict[str, tuple[str, ...]]
    regions: dict[str, RegionTally]
    instances: InstanceTally = field(default_factory=InstanceTally)
    has_instances: bool = False


def score_set(
    models: Sequence[Model],
    data: DataSet,
    *,
    part: Part = "held_out",
    limit: int | None = None,
    options: Options,
    progress: Progress,
) -> list[SetScores]:
    """The scores of every model that gives a region of the set; limit: so many pictures, spread over all of them.

    Nothing for a set that has no picture in that part. Raises SourceUnreadable for files that cannot be used.
    """
    stems = chosen_stems(data, part, limit)
    if not stems:
        return []
    tallies = []
    for model in models:
        names = known_regions(model.card, list(data.regions), options)
        if names:
            regions = {name: RegionTally(name, name in options.lines) for name in names}
            tallies.append(_Tally(model, names, regions))
    for done, stem in enumerate(stems if tallies else ()):
        progress(data.title, done, len(stems))
        sample = data.read(stem)
        frame = Frame.from_rgb(sample.rgb)
        for tally in tallies:
            _add(tally, sample, frame, options)
    return [_scores(tally, data, part, len(stems), options) for tally in tallies]


def chosen_stems(data: DataSet, part: Part, limit: int | None) -> list[str]:
    """The stems of a part, at most `limit`, evenly spread over all."""
    stems = data.stems(part)
    if limit is None or limit >= len(stems):
        return stems
    return [stems[i * len(stems) // limit] for i in range(limit)]


def _add(tally: _Tally, sample: Sample, frame: Frame, options: Options) -> None:
    result = tally.model.segmenter(frame)
    masks = region_masks(result, tally.names)
    for region, mask in masks.items():
        tally.regions[region].add(sample.stem, sample.planes[region], mask, sample.known, options)
    if isinstance(result, Instances) and sample.ids is not None:
        known = sample.known > 127
        (names,) = tally.names.values()
        ids = np.where(known, sample.ids, np.uint16(0))
        tally.instances.add(ids, *said_instances(result, names, known))
        tally.has_instances = True


def _scores(tally: _Tally, data: DataSet, part: Part, pictures: int, options: Options) -> SetScores:
    regions = tuple(region.scores for region in tally.regions.values())
    areas = [scores for scores in regions if scores.line_f1 is None]
    whole = len(areas) == sum(region not in options.lines for region in data.regions) > 1
    return SetScores(
        tally.model.name,
        data.title,
        part,
        data.kind,
        pictures,
        regions,
        sum(scores.iou for scores in areas) / len(areas) if whole else None,
        tally.instances.precision if tally.has_instances else None,
        worst_of(list(tally.regions.values())),
    )


def worst_of(regions: Sequence[RegionTally], *, many: int = WORST) -> tuple[PictureScore, ...]:
    """The pictures with the least scores, as many of each region; of equal ones those with more wrong pixels first.

    Where neither truth nor prediction shows the region there is nothing to look at.
    """
    share = -(-many // max(1, len(regions)))
    worst: list[PictureScore] = []
    for region in regions:
        shown = (picture for picture in region.pictures if not picture.empty)
        worst += sorted(shown, key=lambda picture: (picture.score, -picture.wrong))[:share]
    return tuple(worst[:many])
