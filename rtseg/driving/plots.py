"""Pictures of a report: curves over time, the timeline of events, and the way on a map without tiles, all SVG.

Words have the size of the page's words on any screen, since only the curves are in a stretched picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtseg.driving.markup import Markup, clock, joined, tag
from rtseg.driving.recorded import F64, Drive, Told

COLUMNS = 1000
"""Points across that a curve keeps; of more, the least and the greatest of each column."""
_HEIGHT = 120
_TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


def plot(
    drive: Drive,
    values: F64,
    *,
    title: str,
    unit: str,
    least: float,
    most: float,
    sigma: F64 | None = None,
    base: float | None = None,
) -> Markup:
    """A curve between two values, what is beyond cut; with a band of one sigma. Says so where nothing is known.

    base: a value that is always in sight, such as 0 of a distance.
    """
    known = np.isfinite(values)
    if not known.any():
        return tag(
            "figure", tag("figcaption", title), tag("p", "Not known in this drive.", class_="none"), class_="plot"
        )
    low, high = _limits(values[known] if base is None else np.append(values[known], base), least, most)
    start, length = float(drive.times[0]), max(drive.seconds, 1e-3)
    x = (drive.times - start) / length * COLUMNS
    curves: list[Markup] = []
    if sigma is not None:
        band = _band(x, values, np.nan_to_num(sigma), low, high)
        curves.append(tag("path", d=band, class_="band"))
    curves.append(tag("path", d=_line(x, values, low, high), class_="curve", vector_effect="non-scaling-stroke"))
    inner = tag(
        "svg", *curves, viewBox=f"0 0 {COLUMNS} {_HEIGHT}", preserveAspectRatio="none", width="100%", height=_HEIGHT
    )
    lines = [
        joined(
            tag("line", x1="0", x2="100%", y1=_y(value, low, high), y2=_y(value, low, high), class_="grid"),
            tag("text", f"{value:g}", x=4, y=_y(value, low, high) - 3),
        )
        for value in _steps(low, high)
    ]
    marks = [_mark(event, start, length, _HEIGHT) for event in drive.events]
    span = values[known]
    told = f"{title}: from {span.min():.3g} to {span.max():.3g} {unit}, median {np.median(span):.3g}"
    return tag(
        "figure",
        tag("figcaption", title, " ", tag("small", unit)),
        tag("svg", *marks, *lines, inner, tag("line", class_="cursor", x1=-9, x2=-9, y1=0, y2=_HEIGHT),
            class_="chart", role="img", aria_label=told, width="100%", height=_HEIGHT),
        class_="plot",
    )  # fmt: skip


def timeline(drive: Drive) -> Markup:
    """Where events are in the drive, and the times under it."""
    start, length, height = float(drive.times[0]), max(drive.seconds, 1e-3), 34
    bars = [
        tag(
            "rect",
            x=f"{100 * (event.start - start) / length:.3f}%",
            width=f"{max(0.25, 100 * (event.end - event.start) / length):.3f}%",
            y={"critical": 2, "warning": 12, "info": 22}[event.severity],
            height=8,
            class_=f"bar {event.severity}",
        )
        for event in drive.events
    ]
    empty = [
        tag("rect", x=_percent(a - start, length), width=_percent(b - a, length), y=0, height=height, class_="lost")
        for a, b in drive.gaps
    ]
    cursor = tag("line", class_="cursor", x1=-9, x2=-9, y1=0, y2=height)
    return tag(
        "svg", *empty, *bars, *_times(start, length, height), cursor,
        class_="chart", width="100%", height=height + 16, role="img",
        aria_label=f"{len(drive.events)} events in {clock(length)}",
    )  # fmt: skip


def way(drives: Sequence[Drive]) -> Markup | None:
    """Tracks seen from above, north at the top, with the places of events; None where nobody knows the way."""
    tracks = [drive.track for drive in drives if len(drive.track) > 1]
    if not tracks:
        return None
    every = np.concatenate(tracks)
    middle = np.radians((every[:, 1].min() + every[:, 1].max()) / 2)
    flat = [np.stack([each[:, 2] * np.cos(middle), -each[:, 1]], axis=-1) for each in tracks]
    low, high = np.min([f.min(axis=0) for f in flat], axis=0), np.max([f.max(axis=0) for f in flat], axis=0)
    scale = 560 / max(float((high - low).max()), 1e-7)
    size = (high - low) * scale + 40
    lines, marks = [], []
    for drive, places in zip([d for d in drives if len(d.track) > 1], flat, strict=True):
        points = (places - low) * scale + 20
        step = max(1, len(points) // 1500)
        kept = np.vstack([points[::step], points[-1:]])
        lines.append(tag("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in kept), class_="way"))
        for event in drive.events:
            x, y = points[int(np.argmin(np.abs(drive.track[:, 0] - event.start)))]
            dot = tag(
                "circle", tag("title", event.kind), cx=f"{x:.1f}", cy=f"{y:.1f}", r=5, class_=f"bar {event.severity}"
            )
            marks.append(dot)
    return tag(
        "svg", *lines, *marks, viewBox=f"0 0 {size[0]:.0f} {size[1]:.0f}", class_="map", role="img",
        aria_label="The way, north at the top",
    )  # fmt: skip


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.3f}%"


def _mark(event: Told, start: float, length: float, height: int) -> Markup:
    at, wide = 100 * (event.start - start) / length, 100 * (event.end - event.start) / length
    return tag(
        "rect", x=f"{at:.3f}%", width=f"{max(0.15, wide):.3f}%", y=0, height=height, class_=f"span {event.severity}"
    )


def _limits(values: F64, least: float, most: float) -> tuple[float, float]:
    low, high = max(least, float(values.min())), min(most, float(values.max()))
    if high - low < 0.05 * (most - least):
        middle = min(max((high + low) / 2, least), most)
        low, high = middle - 0.05 * (most - least), middle + 0.05 * (most - least)
    return low, high


def _y(value: float, low: float, high: float) -> float:
    return round(6 + (_HEIGHT - 12) * (high - value) / (high - low), 2)


def _line(x: F64, values: F64, low: float, high: float) -> str:
    """The path of a curve, interrupted where nothing is known."""
    x, values = _thinned(x, values)
    rows = 6 + (_HEIGHT - 12) * (high - np.clip(values, low, high)) / (high - low)
    parts, drawing = [], False
    for at, row, good in zip(x.tolist(), rows.tolist(), np.isfinite(values).tolist(), strict=True):
        if good:
            parts.append(f"{'L' if drawing else 'M'}{at:.1f} {row:.1f}" + ("" if drawing else "h.01"))
        drawing = good
    return "".join(parts)


def _band(x: F64, values: F64, sigma: F64, low: float, high: float) -> str:
    """One sigma above and below, an area for each stretch where both are known; at the kept frames."""
    step = max(1, len(x) // COLUMNS)
    x, values, sigma = x[::step], values[::step], sigma[::step]
    rows = [6 + (_HEIGHT - 12) * (high - np.clip(values + sign * sigma, low, high)) / (high - low) for sign in (1, -1)]
    known = np.flatnonzero(np.isfinite(values) & (sigma > 0))
    parts = []
    for stretch in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
        if len(stretch) > 1:
            there = [f"{at:.1f} {row:.1f}" for at, row in zip(x[stretch], rows[0][stretch], strict=True)]
            back = [f"{at:.1f} {row:.1f}" for at, row in zip(x[stretch][::-1], rows[1][stretch][::-1], strict=True)]
            parts.append("M" + "L".join([*there, *back]) + "z")
    return "".join(parts)


def _thinned(x: F64, values: F64) -> tuple[F64, F64]:
    """Of each of `COLUMNS` columns the least and the greatest, in their order; a column of nothing stays one."""
    if len(x) <= 2 * COLUMNS:
        return x, values
    edges = np.searchsorted(x, np.linspace(0, COLUMNS, COLUMNS + 1))
    kept: list[int] = []
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if end <= start:
            continue
        part = values[start:end]
        if np.isfinite(part).any():
            kept += sorted({start + int(np.nanargmin(part)), start + int(np.nanargmax(part))})
        else:
            kept.append(start)
    return x[kept], values[kept]


def _steps(low: float, high: float) -> list[float]:
    """Three to five round numbers between two."""
    raw = (high - low) / 4
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(next(f * power for f in (1, 2, 5, 10) if f * power >= raw))
    return [float(round(n * step, 6)) for n in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def _times(start: float, length: float, height: int) -> list[Markup]:
    step = next((tick for tick in _TICKS if length / tick <= 6), max(_TICKS[-1], int(length / 6)))
    first = int(np.ceil(start / step)) * step
    return [
        tag("text", clock(at), x=f"{100 * (at - start) / length:.3f}%", y=height + 13, class_="time")
        for at in range(first, int(start + length * 0.97) + 1, step)
    ]
