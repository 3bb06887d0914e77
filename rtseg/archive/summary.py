"""What a drive comes to: a page of numbers for people who look through many."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtseg.driving.schema import VERSION
from rtseg.driving.state import SCHEMA
from rtseg.driving.tables import Tables
from rtseg.stats import Stats


def summarize(
    folder: Path,
    about: Mapping[str, Any],
    stats: Stats,
    tables: Tables,
    *,
    clips: Mapping[str, Mapping[str, Any]],
    notes: Sequence[str],
) -> dict[str, Any]:
    """The summary as plain values; the tables are read once more, line by line, so that memory stays bounded.

    No wall time, machine or path is in it.
    """
    frames = _frames(folder / "frames.jsonl")
    tracks: set[int] = set()
    nearest: float | None = None
    for row in _rows(folder / "tracks.jsonl"):
        tracks.add(row["id"])
        if row["lead"] and row["distance"] is not None:
            nearest = row["distance"] if nearest is None else min(nearest, row["distance"])
    kinds = Counter(str(event["kind"]) for event in tables.events)
    return {
        "schema": VERSION,
        "observations": SCHEMA,
        **about,
        "status": stats.status,
        "frames": stats.frames_out,
        "held": stats.held,
        "dropped": stats.dropped,
        "lost": {cause: count for cause, count in sorted(stats.counts.items()) if count},
        **frames,
        "tracks": len(tracks),
        "nearest_lead": nearest,
        "events": dict(sorted(kinds.items())),
        "event_list": [{**event, "clip": clips.get(str(event["id"]))} for event in tables.events],
        "rows": {table: tables.counts[table] for table in ("frames", "lanes", "tracks", "events")},
        "notes": list(notes),
    }


def _frames(path: Path) -> dict[str, Any]:
    count = lanes = positions = 0
    first = last = None
    worst_confidence: float | None = None
    way, top = 0.0, None
    before: dict[str, Any] | None = None
    for row in _rows(path):
        count += 1
        first = row["time"] if first is None else first
        last = row["time"]
        lanes += row["offset"] is not None
        if (confidence := row["confidence"]) is not None:
            worst_confidence = confidence if worst_confidence is None else min(worst_confidence, confidence)
        if (speed := row["vehicle_speed"]) is not None:
            positions += 1
            top = speed if top is None else max(top, speed)
            if before is not None and before["vehicle_speed"] is not None:
                way += (speed + before["vehicle_speed"]) / 2 * (row["time"] - before["time"])
        before = row
    return {
        "seconds": 0.0 if first is None or last is None else round(last - first, 6),
        "with_lane": round(lanes / count, 6) if count else 0.0,
        "with_speed": round(positions / count, 6) if count else 0.0,
        "distance": round(way, 3) if positions else None,
        "top_speed": top if top is None or math.isfinite(top) else None,
        "least_confidence": worst_confidence,
    }


def _rows(path: Path) -> Any:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
