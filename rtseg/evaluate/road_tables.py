"""The tables of roads, for people: drivable surface, lane lines, boxes, drawn drives, and figures by condition."""

from __future__ import annotations

from collections.abc import Sequence

from rtseg.evaluate.drive_set import Spread
from rtseg.evaluate.scores import RegionScores, SetScores
from rtseg.tables import Table


def road_tables(sets: Sequence[SetScores]) -> list[Table]:
    """All that tasks of roads, and conditions, say of one set."""
    tables = [
        _drivable(sets),
        _conditions(sets),
        _lines(sets),
        _rows(sets),
        _boxes(sets),
        _driven_lanes(sets),
        _departures(sets),
        _driven_obstacles(sets),
        _tracks(sets),
    ]
    return [table for table in tables if table.rows]


def _drivable(sets: Sequence[SetScores]) -> Table:
    rows = [(scores.model, *_area(region)) for scores in sets if scores.task == "drivable" for region in scores.regions]
    return Table(f"{title_of(sets[0])}, drivable", ("model", *_AREA), tuple(rows), 1)


_AREA = ("IoU", "precision", "recall", "IoU mean", "bound. F")


def _area(region: RegionScores) -> tuple[str, ...]:
    values = (region.iou, region.precision, region.recall, region.iou_mean, region.boundary_f)
    return tuple(figure(value) for value in values)


def _conditions(sets: Sequence[SetScores]) -> Table:
    """Of areas the IoU with precision and recall, of lines the line F1 with them."""
    every = [(region, scores.model) for scores in sets for region in scores.conditions]
    rows = []
    for key in dict.fromkeys((region.region, region.condition) for region, _ in every):
        for region, model in every:
            if (region.region, region.condition) == key:
                line = region.line_f1 is not None
                values = (
                    (region.line_f1, region.line_precision, region.line_recall)
                    if line
                    else (region.iou, region.precision, region.recall)
                )
                rows.append((*key, model, "line F1" if line else "IoU", *map(figure, values)))
    headings = ("region", "condition", "model", "figure", "value", "precision", "recall")
    return Table(f"{title_of(sets[0])}, by condition", headings, tuple(rows), 4)


def _lines(sets: Sequence[SetScores]) -> Table:
    rows = [
        (scores.model, figure(own.f1), figure(own.precision), figure(own.recall), *map(str, (own.truth, own.said)))
        for scores in sets
        if (own := scores.lanes) is not None
    ]
    headings = ("model", "F1", "precision", "recall", "lines", "said")
    return Table(f"{title_of(sets[0])}, lines drawn thick (CULane)", headings, tuple(rows), 1)


def _rows(sets: Sequence[SetScores]) -> Table:
    rows = [
        (scores.model, *map(figure, (own.rows.accuracy, own.rows.false_positive, own.rows.false_negative)))
        for scores in sets
        if (own := scores.lanes) is not None and own.rows is not None
    ]
    headings = ("model", "accuracy", "FP", "FN")
    return Table(f"{title_of(sets[0])}, lines by rows (TuSimple)", headings, tuple(rows), 1)


def _boxes(sets: Sequence[SetScores]) -> Table:
    rows = []
    for scores in sets:
        if (mean := scores.boxes) is None:
            continue
        for one in (mean, *(mean.classes if len(mean.classes) > 1 else ())):
            figures = (one.ap, one.ap50, one.ap75, one.ar)  # those by size are in the JSON: lines are short
            name = one.name or (mean.classes[0].name if len(mean.classes) == 1 else "mean")
            rows.append((name, scores.model, *map(figure, figures), str(one.truth), str(one.predicted)))
    headings = ("class", "model", "AP", "AP50", "AP75", "AR", "boxes", "said")
    return Table(f"{title_of(sets[0])}, boxes", headings, tuple(rows))


def _driven_lanes(sets: Sequence[SetScores]) -> Table:
    rows = []
    for scores in sets:
        if (own := scores.driven_lanes) is not None:
            errors = (*_mean_and_high(own.offset), *_mean_and_high(own.heading), figure(own.jump))
            shares = (f"{100 * share:.1f} %" for share in (own.both, own.withheld))
            rows.append((scores.model, *errors, *shares))
    headings = ("lines by", "offset", "95 %", "heading", "95 %", "jump", "both", "withheld")
    return Table(f"{title_of(sets[0])}, lanes in metres and degrees", headings, tuple(rows), 1)


def _departures(sets: Sequence[SetScores]) -> Table:
    rows = [
        (scores.model, figure(own.precision), figure(own.recall), str(own.departures))
        for scores in sets
        if (own := scores.driven_lanes) is not None
    ]
    headings = ("lines by", "precision", "recall", "departures")
    return Table(f"{title_of(sets[0])}, departures", headings, tuple(rows), 1)


def _driven_obstacles(sets: Sequence[SetScores]) -> Table:
    rows = []
    for scores in sets:
        if (own := scores.driven_obstacles) is not None:
            cells = [(own.distance, own.distance_told), (own.ttc, own.ttc_told)]
            rows.append((scores.model, *(cell for pair in cells for cell in _relative(*pair))))
    headings = ("obstacles by", "distance to 40 m", "95 %", "told", "TTC under 4 s", "95 %", "told")
    return Table(f"{title_of(sets[0])}, errors", headings, tuple(rows), 1)


def _tracks(sets: Sequence[SetScores]) -> Table:
    rows = []
    for scores in sets:
        driven = scores.driven_obstacles
        own = scores.tracks if driven is None else driven.tracks
        if own is not None:
            values = (own.hota, own.detection, own.association, own.idf1)
            rows.append((scores.model, *map(figure, values), str(own.switches)))
    headings = ("obstacles by", "HOTA", "DetA", "AssA", "IDF1", "switches")
    return Table(f"{title_of(sets[0])}, tracks", headings, tuple(rows), 1)


def _mean_and_high(errors: Spread | None) -> tuple[str, str]:
    return ("–", "–") if errors is None else (figure(errors.mean), figure(errors.high))


def _relative(errors: Spread | None, told: float | None) -> tuple[str, str, str]:
    """The median, what 95 % do not exceed, and how many were told, in percent."""
    values = (None, None, told) if errors is None else (errors.median, errors.high, told)
    return tuple("–" if value is None else f"{100 * value:.1f} %" for value in values)  # type: ignore[return-value]


def title_of(scores: SetScores) -> str:
    """A set, and how much of it."""
    if scores.kind == "drawn-drives":
        return f"{scores.data}: {scores.pictures} drawn drive{'s' * (scores.pictures > 1)}"
    return f"{scores.data}: {scores.pictures} pictures ({scores.part.replace('_', ' ')})"


def figure(value: float | None) -> str:
    """Three digits behind the point, or a dash for what was not measured."""
    if value is None:
        return "–"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"
