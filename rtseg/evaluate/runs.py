"""Models over sets: every picture is read once, every model sees it, every task's figures grow."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias

import numpy as np

from rtseg.datasets import DataSet, Part, Sample
from rtseg.errors import ConfigError
from rtseg.evaluate.coco import CocoSet
from rtseg.evaluate.footage import FootageSet
from rtseg.evaluate.instances import COCO_LIMIT, InstanceTally
from rtseg.evaluate.mattes import MatteTally
from rtseg.evaluate.models import Model, known_regions, region_masks
from rtseg.evaluate.panoptic import PanopticTally
from rtseg.evaluate.plan import Options
from rtseg.evaluate.scores import PictureScore, RegionTally, SetScores
from rtseg.evaluate.truth import (
    ROAD_REGIONS,
    Task,
    TrueSegment,
    said_segments,
    task_of,
    true_segments,
    without_overlap,
)
from rtseg.evaluate.worst import MANY, WorstPictures, matte_panels, segment_panels
from rtseg.ops.resize import enlarge
from rtseg.results import Instances, Panoptic, Segmentation
from rtseg.types import Frame

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how much of it, and of how much."""

WORST = MANY


class Labelled(Protocol):
    """A set whose pictures are known by stems."""

    def stems(self, part: Part = "all") -> list[str]:
        """Those of one side of the split."""
        ...


_SEGMENTS = "picture, truth, prediction; outlines red where one side has no match"
_MATTES = "picture, true alpha, predicted alpha, difference (red too much, blue too little)"


@dataclass
class _Tally:
    """A model on a set, so far. said: the model's names -> the set's. strict: results that tell no things apart are
    an error, since the task was asked for or the labels are of nothing else."""  # fmt: skip

    model: Model
    names: dict[str, tuple[str, ...]]
    missing: tuple[str, ...]
    task: Task
    strict: bool
    regions: dict[str, RegionTally]
    things: tuple[str, ...] = ()
    limit: int | None = None
    instances: InstanceTally | None = None
    panoptic: PanopticTally | None = None
    matte: MatteTally | None = None
    worst: WorstPictures = field(default_factory=lambda: WorstPictures(_SEGMENTS))

    @property
    def said(self) -> dict[str, str]:
        return {name: region for region, names in self.names.items() for name in names}


def score_set(
    models: Sequence[Model],
    data: DataSet | CocoSet,
    *,
    part: Part = "held_out",
    limit: int | None = None,
    options: Options,
    progress: Progress,
    task: Task | None = None,
) -> list[tuple[SetScores, WorstPictures]]:
    """The scores of every model that gives a region of the set, and what to show of segments and mattes.

    limit: so many pictures, spread over all of them. task: None for what the labels are made for. Nothing for a set
    that has no picture in that part. Raises SourceUnreadable for files that cannot be used, ConfigError for models
    whose results do not serve the task.
    """
    stems = chosen_stems(data, part, limit)
    if not stems:
        return []
    tallies = [
        tally for model in models if (tally := _tally(model, data, task_of(data.title, data.kind, task), task, options))
    ]
    for done, stem in enumerate(stems if tallies else ()):
        progress(data.title, done, len(stems))
        sample, segments = _read(data, stem, planes=any(tally.regions for tally in tallies))
        frame = Frame.from_rgb(sample.rgb)
        for tally in tallies:
            _add(tally, sample, segments, frame, options)
    return [(_scores(tally, data, part, len(stems), options), tally.worst) for tally in tallies]


def score_footage(
    models: Sequence[Model], data: FootageSet, *, options: Options, progress: Progress
) -> list[tuple[SetScores, WorstPictures]]:
    """The mattes of every model that gives the region, over all frames of all clips; models forget between clips."""
    found = []
    for model in models:
        names = known_regions(model.card, [data.region], options)
        if not names:
            continue
        tally, worst, frames = MatteTally(data.region), WorstPictures(_MATTES, once=True), 0
        for stem in data.clips:
            tally.begin_clip()
            model.segmenter.reset()
            for frame, alpha in data.read(stem):
                progress(f"{data.title} {stem}", frame.index, data.frames)
                mask = enlarge(region_masks(model.segmenter(frame), names)[data.region], frame.size)
                frames += 1
                mad = tally.add(alpha, mask, np.ones(alpha.shape, bool))
                caption = f"MAD x1000 {1e3 * mad:.1f}, {stem} frame {frame.index}"
                worst.add(-mad, caption, partial(matte_panels, frame.rgb, alpha, mask), group=stem)
        scores = SetScores(model.name, data.title, "all", "footage", frames, (), task="matte", matte=tally.scores)
        found.append((scores, worst))
    return found


def chosen_stems(data: Labelled, part: Part, limit: int | None) -> list[str]:
    """The stems of a part, at most `limit`, evenly spread over all."""
    stems = data.stems(part)
    if limit is None or limit >= len(stems):
        return stems
    return [stems[i * len(stems) // limit] for i in range(limit)]


def asked_regions(data: DataSet | CocoSet, task: Task | None) -> list[str]:
    """The regions of a set that a task is about: of roads one, else all."""
    wanted = ROAD_REGIONS.get(task) if task else None
    return [name for name in data.regions if wanted is None or name == wanted]


def _tally(model: Model, data: DataSet | CocoSet, task: Task, wanted: Task | None, options: Options) -> _Tally | None:
    """None for a model that gives no region of the set."""
    labelled = asked_regions(data, task)
    names = known_regions(model.card, labelled, options)
    if not names:
        return None
    is_coco = isinstance(data, CocoSet)
    with_regions = task == "semantic" or task in ROAD_REGIONS or not is_coco
    regions = {name: RegionTally(name, name in options.lines) for name in names} if with_regions else {}
    missing = tuple(name for name in labelled if name not in names)
    tally = _Tally(model, names, missing, task, is_coco or wanted is not None, regions)
    every = [name for own in names.values() for name in own]
    if task in ("instance", "panoptic") and (twice := sorted({name for name in every if every.count(name) > 1})):
        both = ", ".join(region for region, own in names.items() if twice[0] in own)
        raise ConfigError(
            f"{twice[0]!r} of {model.name!r} stands for {both} of {data.title!r}, so its segments would count twice: "
            "leave it under one [[eval.alias]]"
        )
    match task:
        case "instance":
            things = [name for name in names if not isinstance(data, CocoSet) or data.regions[name]]
            if not things:
                raise ConfigError(f"{model.name!r} gives no thing of {data.title!r}, only stuff: use --task semantic")
            tally.things, tally.limit = tuple(things), COCO_LIMIT if is_coco else None
        case "panoptic":
            assert isinstance(data, CocoSet)
            tally.panoptic = PanopticTally(list(names), {name for name in names if data.regions[name]})
        case "matte":
            tally.matte = MatteTally(next(iter(names)))
            tally.worst = WorstPictures(_MATTES)
        case "semantic" | "drivable" | "lanes" | "obstacles":
            pass
    return tally


def _read(data: DataSet | CocoSet, stem: str, *, planes: bool) -> tuple[Sample, tuple[TrueSegment, ...]]:
    if isinstance(data, CocoSet):
        picture = data.truth(stem, planes=planes)
        return picture.sample, picture.segments
    sample = data.read(stem)
    return sample, true_segments(data, sample)


def _add(tally: _Tally, sample: Sample, segments: Sequence[TrueSegment], frame: Frame, options: Options) -> None:
    tally.model.segmenter.reset()  # a picture is no frame after the one before
    result = tally.model.segmenter(frame)
    for region, mask in (region_masks(result, tally.names) if tally.regions else {}).items():
        tally.regions[region].add(sample.stem, sample.planes[region], mask, sample.known, options)
    if tally.matte is not None:
        region = tally.matte.region
        mask = enlarge(region_masks(result, tally.names)[region], frame.size)
        mad = tally.matte.add(sample.planes[region], mask, sample.known > 127)
        caption = f"MAD x1000 {1e3 * mad:.1f}, {sample.stem}"
        tally.worst.add(-mad, caption, lambda: matte_panels(sample.rgb, sample.planes[region], mask))
    elif tally.task in ("instance", "panoptic") and (tally.strict or isinstance(result, Instances | Panoptic)):
        _add_segments(tally, sample, segments, result)


def _add_segments(tally: _Tally, sample: Sample, truth: Sequence[TrueSegment], result: Segmentation) -> None:
    known = sample.known > 127
    # Panoptic quality has its own rule for what is said where nothing is known.
    counted = np.ones_like(known) if tally.panoptic is not None else known
    said = said_segments(result, tally.said, counted, model=tally.model.name, task=tally.task)
    if tally.panoptic is not None:
        said = without_overlap(said)
        matches = tally.panoptic.add(truth, said)
        score, found, right, kind = matches.quality, ~matches.missed, ~matches.made_up, "PQ"
    else:
        if tally.instances is None:  # only here is it known that there are any, and the library needed
            tally.instances = InstanceTally(tally.things, limit=tally.limit)
        truth = [segment for segment in truth if segment.name in tally.instances.names]
        said = [segment for segment in said if segment.name in tally.instances.names]
        finds = tally.instances.add(truth, said, known.shape)
        score, found, right, kind = finds.f1, finds.truth, finds.said, "F1"
    if truth or said:
        names = [*tally.names, *tally.missing]
        tally.worst.add(
            score,
            f"{kind} {score:.3f}, {sample.stem}",
            lambda: segment_panels(sample.rgb, truth, said, found=found, right=right, names=names),
        )


def _scores(tally: _Tally, data: DataSet | CocoSet, part: Part, pictures: int, options: Options) -> SetScores:
    regions = tuple(region.scores for region in tally.regions.values())
    areas = [scores for scores in regions if scores.line_f1 is None]
    whole = len(areas) == sum(region not in options.lines for region in data.regions) > 1
    occurring = [scores.iou for scores in areas if scores.occurs]
    recalls = [scores.recall for scores in areas if scores.recall is not None]
    labelled = sum(scores.truth for scores in regions)
    return SetScores(
        tally.model.name,
        data.title,
        part,
        data.kind,
        pictures,
        regions,
        sum(occurring) / len(occurring) if whole and occurring else None,
        tally.instances.precision if tally.instances is not None else None,
        tally.task,
        sum(recalls) / len(recalls) if whole and recalls else None,
        sum(scores.found for scores in regions) / labelled if whole and labelled else None,
        tally.panoptic.qualities if tally.panoptic is not None else (),
        tally.matte.scores if tally.matte is not None else None,
        tally.missing,
        worst_of(list(tally.regions.values())),
        conditions=tuple(
            scores
            for condition, pattern in options.conditions.items()
            for region in tally.regions.values()
            if (scores := region.under(condition, re.compile(pattern))) is not None
        ),
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
