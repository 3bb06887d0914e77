"""Horizontal bars as pictures, drawn with what is installed anyway: the plots of a suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rtseg.ops.arrays import U8
from rtseg.ops.text import text_alpha

COLOURS = (
    (78, 121, 167),
    (242, 142, 43),
    (89, 161, 79),
    (225, 87, 89),
    (118, 183, 178),
    (176, 122, 161),
    (237, 201, 72),
    (156, 117, 95),
    (160, 160, 160),
    (30, 30, 90),
)
"""RGB of the parts of bars, in the order of a chart's legend; behind the last one they start again."""

_INK, _PALE, _RULE = (40, 40, 40), (110, 110, 110), (220, 220, 220)
_WIDTH, _MARGIN, _TEXT, _TITLE = 1200, 28, 22, 30
_BAR, _GAP, _GROUP_GAP = 26, 8, 20


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: its label, the lengths of its parts as (index of the legend, value), and words behind it."""

    label: str
    parts: tuple[tuple[int, float], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Groups of bars on one axis from 0. legend: what parts are. line: a value that is marked, and its words."""

    title: str
    groups: Mapping[str, Sequence[Bar]]
    legend: tuple[str, ...] = ()
    line: tuple[float, str] | None = None


def draw(chart: Chart) -> U8:
    """A chart as RGB uint8 HxWx3, 1200 pixels wide; its height follows from its bars."""
    bars = [bar for group in chart.groups.values() for bar in group]
    labels = max([_width(bar.label) for bar in bars] + [_width(name) for name in chart.groups], default=0)
    notes = max((_width(bar.note) for bar in bars), default=0)
    left, right = _MARGIN + labels + 14, _WIDTH - _MARGIN - notes - 10
    longest = max([sum(value for _, value in bar.parts) for bar in bars] + [chart.line[0] if chart.line else 0.0])
    scale = (right - left) / longest if longest > 0 else 0.0
    legend = _legend_rows(chart.legend)
    top = _MARGIN + _TITLE + 18 + len(legend) * (_TEXT + 12) + (_TEXT + 14 if chart.line else 6)
    named = sum(bool(name) for name in chart.groups) * (_TEXT + 8)
    height = top + len(bars) * (_BAR + _GAP) + (len(chart.groups) - 1) * _GROUP_GAP + named + _MARGIN
    canvas = np.full((height, _WIDTH, 3), 255, np.uint8)
    _write(canvas, chart.title, (_MARGIN, _MARGIN), _INK, size=_TITLE)
    y = _MARGIN + _TITLE + 18
    for entries in legend:
        for x, number, name in entries:
            cv2.rectangle(canvas, (x, y + 3), (x + 16, y + 19), COLOURS[number % len(COLOURS)], -1)
            _write(canvas, name, (x + 24, y), _PALE)
        y += _TEXT + 12
    rows, y = [], top
    for name, group in chart.groups.items():
        if name:
            _write(canvas, name, (_MARGIN, y), _INK)
            y += _TEXT + 8
        for bar in group:
            rows.append((bar, y, _bar(canvas, bar, (left, y), scale)))
            y += _BAR + _GAP
        y += _GROUP_GAP
    if chart.line:
        value, words = chart.line
        x = left + round(value * scale)
        cv2.line(canvas, (x, top - 4), (x, y - _GROUP_GAP), _PALE, 2)
        at = min(max(x - _width(words) // 2, _MARGIN), _WIDTH - _MARGIN - _width(words))
        _write(canvas, words, (at, top - _TEXT - 10), _PALE)
    for bar, row, end in rows:  # last, so that the line goes behind the words
        canvas[row : row + _BAR, end + 6 : end + 14 + _width(bar.note)] = 255
        _write(canvas, bar.note, (end + 10, row + 2), _PALE)
    return canvas


def _bar(canvas: U8, bar: Bar, at: tuple[int, int], scale: float) -> int:
    """Label and parts; the column where the bar ends."""
    left, y = at
    _write(canvas, bar.label, (left - 14 - _width(bar.label), y + 2), _INK)
    cv2.line(canvas, (left, y - _GAP // 2), (left, y + _BAR + _GAP // 2), _RULE, 1)
    done = 0.0
    for number, value in bar.parts:
        start, done = left + round(done * scale), done + value
        canvas[y : y + _BAR, start : left + round(done * scale)] = COLOURS[number % len(COLOURS)]
    return left + round(done * scale)


def _legend_rows(names: Sequence[str]) -> list[list[tuple[int, int, str]]]:
    """Rows of (x, index, name) that fit into the width."""
    rows: list[list[tuple[int, int, str]]] = []
    x = _WIDTH
    for number, name in enumerate(names):
        needed = 24 + _width(name) + 26
        if x + needed > _WIDTH - _MARGIN:
            rows.append([])
            x = _MARGIN
        rows[-1].append((x, number, name))
        x += needed
    return rows


def _width(text: str, size: int = _TEXT) -> int:
    return text_alpha(text, size).shape[1] if text else 0


def _write(canvas: U8, text: str, at: tuple[int, int], ink: tuple[int, int, int], *, size: int = _TEXT) -> None:
    if not text:
        return
    x, y = at
    alpha = text_alpha(text, size)[:, : max(0, canvas.shape[1] - x), None].astype(np.float32) / 255.0
    place = canvas[y : y + alpha.shape[0], x : x + alpha.shape[1]]
    place[:] = np.rint(place + (np.array(ink, np.float32) - place) * alpha).astype(np.uint8)
