"""A whole evaluation: load, time, score, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rtseg import store
from rtseg.cards import Card
from rtseg.datasets import Part
from rtseg.errors import ConfigError
from rtseg.evaluate.flicker import ClipScores, compare_clip, score_clip
from rtseg.evaluate.models import Model, cpu_times, load_model
from rtseg.evaluate.plan import Plan
from rtseg.evaluate.report import Report, make_report
from rtseg.evaluate.runs import Progress, score_set
from rtseg.evaluate.scores import SetScores
from rtseg.evaluate.sheet import write_worst


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
    for data in plan.data:
        if not any(plan.options.names_for(region, card) for card in cards for region in data.regions):
            known = "; ".join(f"{card.name}: {', '.join(card.names)}" for card in cards)
            raise ConfigError(
                f"none of the models gives {' or '.join(data.regions)}, which {data.title!r} labels ({known}): "
                "choose another model, or say in an [[eval.alias]] what the models call it"
            )
    if plan.data and not any(data.stems(part) for data in plan.data):
        titles = ", ".join(data.title for data in plan.data)
        raise ConfigError(f"no picture of {titles} is in the part {part!r}: choose another part, such as --part all")
    models = [load_model(card, threads=threads) for card in cards]
    progress("timing", 0, 1)
    times = cpu_times(models)
    sets: list[SetScores] = []
    for data in plan.data:
        sets += score_set(models, data, part=part, limit=limit, options=plan.options, progress=progress)
    report = make_report(cards, times, sets, _clips(models, plan, progress), options=plan.options, threads=threads)
    if folder is not None:
        report.write(folder)
        for scores in sets:
            model = next(model for model in models if model.name == scores.model)
            data = next(data for data in plan.data if data.title == scores.data)
            progress(f"worst pictures of {scores.data}", 0, 1)
            write_worst(model, data, scores, folder, options=plan.options)
    return report


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
