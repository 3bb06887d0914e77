"""A whole evaluation: load, time, score, report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from rtseg import store
from rtseg.cards import Card
from rtseg.datasets import Part
from rtseg.errors import ConfigError
from rtseg.evaluate.coco import CocoSet
from rtseg.evaluate.drawn import score_lane_drives, score_obstacle_drives
from rtseg.evaluate.drive_set import DriveSet
from rtseg.evaluate.flicker import ClipScores, compare_clip, score_clip
from rtseg.evaluate.models import Model, cpu_times, load_model
from rtseg.evaluate.plan import Plan
from rtseg.evaluate.report import Report, make_report
from rtseg.evaluate.road_runs import score_boxes, score_lines
from rtseg.evaluate.runs import Progress, asked_regions, score_footage, score_set
from rtseg.evaluate.scores import SetScores
from rtseg.evaluate.sheet import sheet_path, write_worst
from rtseg.evaluate.track_runs import score_tracks
from rtseg.evaluate.truth import task_of
from rtseg.evaluate.worst import WorstPictures


def evaluate(
    cards: Sequence[Card],
    plan: Plan,
    *,
    part: Part = "held_out",
    limit: int | None = None,
    threads: int = 1,
    folder: Path | None = None,
    progress: Progress = lambda _what, _done, _all: None,
) -> Report:
    """Measure every model on every set and clip of the plan; with `folder`, write report and sheets there.

    Raises ConfigError where no model gives a region of any set, and what models, sets and sources raise.
    """
    if not cards and (plan.sets or plan.mattes or plan.lanes or plan.tracks or plan.clips):
        raise ConfigError("nothing to measure: give a --model; only drawn drives (--data rendered:20) need none")
    for title, regions in (
        *((data.title, asked_regions(data, plan.task)) for data in plan.sets if plan.task != "obstacles"),
        *((data.title, [data.region]) for data in plan.mattes),
        *((data.title, list(data.regions)) for data in plan.lanes),
    ):
        _check_names(cards, title, regions, plan)
    parted = (*plan.sets, *plan.lanes)
    if parted and not (plan.mattes or plan.tracks or plan.drives) and not any(data.stems(part) for data in parted):
        titles = ", ".join(data.title for data in parted)
        raise ConfigError(f"no picture of {titles} is in the part {part!r}: choose another part, such as --part all")
    models = [load_model(card, threads=threads) for card in cards]
    progress("timing", 0, 1)
    times = cpu_times(models)
    scored: list[tuple[SetScores, WorstPictures]] = []
    chosen: _Chosen = {"part": part, "limit": limit, "progress": progress}
    for data in plan.sets:
        if isinstance(data, CocoSet) and plan.task == "obstacles":
            scored += score_boxes(models, data, **chosen)
        else:
            scored += score_set(models, data, options=plan.options, task=plan.task, **chosen)
    for lines in plan.lanes:
        scored += score_lines(models, lines, options=plan.options, **chosen)
    for tracks in plan.tracks:
        scored += [(one, WorstPictures("")) for one in score_tracks(models, tracks, limit=limit, progress=progress)]
    for drives in plan.drives:
        scored += _drives(models, drives, plan, progress)
    for footage in plan.mattes:
        scored += score_footage(models, footage, options=plan.options, progress=progress)
    sets = [scores for scores, _ in scored]
    report = make_report(cards, times, sets, _clips(models, plan, progress), options=plan.options, threads=threads)
    if folder is not None:
        report.write(folder)
        for scores, worst in scored:
            progress(f"worst pictures of {scores.data}", 0, 1)
            path = sheet_path(folder, scores.model, scores.data)
            if worst.write(f"{scores.model} on {scores.data}", path) is None and scores.worst:
                model = next(model for model in models if model.name == scores.model)
                labelled = next(data for data in plan.sets if data.title == scores.data)
                write_worst(model, labelled, scores, folder, options=plan.options)
    return report


class _Chosen(TypedDict):
    part: Part
    limit: int | None
    progress: Progress


def _drives(
    models: Sequence[Model], data: DriveSet, plan: Plan, progress: Progress
) -> list[tuple[SetScores, WorstPictures]]:
    """Nothing is shown of drawn drives."""
    if task_of(data.title, data.kind, plan.task) == "obstacles":
        scores = score_obstacle_drives(data, progress=progress)
    else:
        scores = score_lane_drives(models, data, options=plan.options, progress=progress)
    return [(one, WorstPictures("")) for one in scores]


def _check_names(cards: Sequence[Card], title: str, regions: Sequence[str], plan: Plan) -> None:
    """ConfigError where none of the models has a name of the set, with both sides' names."""
    if any(plan.options.names_for(region, card) for card in cards for region in regions):
        return
    known = "; ".join(f"{card.name}: {_some(card.names)}" for card in cards)
    pairs = [(region, name) for region in regions for card in cards for name in card.names]
    near = next((pair for pair in pairs if _plain(pair[0]) == _plain(pair[1])), None)
    hint = f' (such as region = "{near[0]}", names = ["{near[1]}"])' if near else ""
    raise ConfigError(
        f"none of the models gives {_some(regions, last=' or ')}, which {title!r} labels ({known}): "
        f"choose another model, or say in an [[eval.alias]] what the models call it{hint}"
    )


def _plain(name: str) -> str:
    """A name without what sets spell differently: capitals, hyphens, spaces."""
    return re.sub(r"[\W_]+", "", name).casefold()


def _some(names: Sequence[str], *, last: str = ", ", many: int = 12) -> str:
    """At most so many names, and how many more there are."""
    return last.join(names) if len(names) <= many else f"{last.join(names[:many])} and {len(names) - many} more"


def _clips(models: Sequence[Model], plan: Plan, progress: Progress) -> list[ClipScores]:
    scores: list[ClipScores] = []
    teachers: dict[str, Model] = {}
    for clip in plan.clips:
        if not clip.teacher:
            scores += score_clip(models, clip, options=plan.options, progress=progress)
            continue
        if clip.teacher not in teachers:
            teachers[clip.teacher] = load_model(store.find_card(clip.teacher))
        scores += compare_clip(models, teachers[clip.teacher], clip, options=plan.options, progress=progress)
    return scores
