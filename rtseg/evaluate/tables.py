"""The tables of a set, for people: regions, things, panoptic segments, mattes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rtseg.evaluate.road_tables import figure, road_tables, title_of
from rtseg.evaluate.scores import RegionScores, SetScores
from rtseg.tables import Table


def set_tables(sets: Sequence[SetScores]) -> list[Table]:
    """All about one set: models side by side, and a table for each kind of figure that there is."""
    road = [scores for scores in sets if scores.task == "drivable"]
    tables = [_region_table(sets)] if len(road) < len(sets) and any(scores.regions for scores in sets) else []
    tables += road_tables(sets)
    if any(scores.precision for scores in sets):
        tables.append(_instance_table(sets))
    if any(scores.panoptic for scores in sets):
        tables.append(_panoptic_table(sets))
    if any(scores.matte for scores in sets):
        tables.append(_matte_table(sets))
    return tables


def missing_names(sets: Sequence[SetScores]) -> list[str]:
    """A sentence for each model that does not give all that a set labels."""
    return [
        f"{scores.model} does not give {', '.join(scores.missing)} of {scores.data}, which is left out of its figures."
        for scores in sets
        if scores.missing
    ]


def _of_area(scores: RegionScores, value: float | None) -> float | None:
    """A figure that says little of thin lines."""
    return value if scores.line_f1 is None else None


_CLASS = "class acc."

_COLUMNS: tuple[tuple[str, Callable[[RegionScores], float | None]], ...] = (
    ("IoU mean", lambda s: _of_area(s, s.iou_mean)),
    ("median", lambda s: _of_area(s, s.iou_median)),
    ("pooled", lambda s: s.iou),
    ("accuracy", lambda s: _of_area(s, s.accuracy)),
    (_CLASS, lambda s: _of_area(s, s.recall)),
    ("bound. F", lambda s: s.boundary_f),
    ("line F1", lambda s: s.line_f1),
    ("precision", lambda s: s.line_precision),
    ("recall", lambda s: s.line_recall),
)


def _region_table(sets: Sequence[SetScores]) -> Table:
    """Regions side by side: a row a region and model, and only columns that say something."""
    columns = [column for column in _COLUMNS if column[0] != _CLASS or any(s.mean_accuracy is not None for s in sets)]
    every = [(region, scores.model) for scores in sets for region in scores.regions]
    shown = [column for column in columns if any(column[1](region) is not None for region, _ in every)]
    names = list(dict.fromkeys(region.region for region, _ in every))
    headings = ["region", "model", *(heading for heading, _ in shown)]
    rows = [
        [name, model, *(figure(value(region)) for _, value in shown)]
        for name in names
        for region, model in every
        if region.region == name
    ]
    pooled = headings.index("pooled")
    for scores in sets:
        if scores.miou is not None:
            blanks = ["" for _ in headings[2:]]
            blanks[pooled - 2] = figure(scores.miou)
            if scores.mean_accuracy is not None:
                blanks[headings.index(_CLASS) - 2] = figure(scores.mean_accuracy)
            rows.append(["mean", scores.model, *blanks])
        if scores.pixel_accuracy is not None:
            blanks = ["" for _ in headings[2:]]
            blanks[headings.index("accuracy") - 2] = figure(scores.pixel_accuracy)
            rows.append(["all pixels", scores.model, *blanks])
    return Table(title_of(sets[0]), tuple(headings), tuple(map(tuple, rows)))


def _instance_table(sets: Sequence[SetScores]) -> Table:
    rows = []
    for scores in sets:
        if (mean := scores.precision) is None:
            continue
        for one in (mean, *(mean.classes if len(mean.classes) > 1 else ())):
            figures = (one.ap, one.ap50, one.ap75, one.small, one.medium, one.large, one.ar)
            name = one.name or (mean.classes[0].name if len(mean.classes) == 1 else "mean")
            rows.append((name, scores.model, *map(figure, figures), str(one.truth), str(one.predicted)))
    headings = ("class", "model", "AP", "AP50", "AP75", "small", "medium", "large", "AR", "things", "said")
    return Table(f"{title_of(sets[0])}, instances", headings, tuple(rows))


def _panoptic_table(sets: Sequence[SetScores]) -> Table:
    rows = []
    for scores in sets:
        for one in scores.panoptic:
            counts = map(str, (one.found, one.made_up, one.missed))
            rows.append((one.name, scores.model, figure(one.pq), figure(one.sq), figure(one.rq), *counts))
    headings = ("class", "model", "PQ", "SQ", "RQ", "found", "made up", "missed")
    return Table(f"{title_of(sets[0])}, panoptic", headings, tuple(rows))


def _matte_table(sets: Sequence[SetScores]) -> Table:
    mattes = [(scores.model, scores.matte) for scores in sets if scores.matte is not None]
    is_video = any(matte.dtssd is not None for _, matte in mattes)
    headings = ["region", "model", "MAD x1000", "MSE x1000", "Grad /1000", "Conn /1000"]
    rows = []
    for model, matte in mattes:
        figures = [matte.mad, matte.mse, matte.grad, matte.conn, *([matte.dtssd] if is_video else ())]
        rows.append((matte.region, model, *("–" if value is None else f"{value:.2f}" for value in figures)))
    what = title_of(sets[0])
    if is_video:
        headings.append("dtSSD x100")
        what = f"{sets[0].data}: {sets[0].pictures} frames of {mattes[0][1].clips} clips"
    return Table(f"{what}, mattes", tuple(headings), tuple(rows))
