"""How far a drive's data can be trusted, as a table that says what was measured and what was not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtseg.driving.markup import Markup, clock, tag
from rtseg.driving.recorded import Drive, Thumbnail

DARK = 50.0
"""Mean luma of a picture, 0..255, under which it counts as dark: lit streets by night are 20 to 45."""


def quality_of(drive: Drive, thumbnails: Sequence[Thumbnail]) -> Markup:
    """Rows of what, how much, and what that means."""
    rows = [*_lost(drive), *_calibration(drive), *_known(drive), _darkness(thumbnails), _rain()]
    return tag("table", tag("tbody", *(tag("tr", tag("th", what), tag("td", said)) for what, said in rows)))


def _lost(drive: Drive) -> list[tuple[str, str]]:
    frames = len(drive.times)
    rows = [
        ("Frames", f"{frames} in {clock(drive.seconds)}"),
        ("Frames without a mask of their own", _share(drive.held, frames)),
        ("Frames missing in the numbering", _share(drive.missing, frames + drive.missing)),
        ("Gaps of over half a second", ", ".join(f"{clock(a)} to {clock(b)}" for a, b in drive.gaps[:20]) or "none"),
    ]
    if drive.broken:
        rows.append(("Lines of the records that cannot be read", str(drive.broken)))
    counts = drive.summary.get("counts", drive.summary.get("lost"))
    if isinstance(counts, dict):
        rows += [(str(cause).replace("_", " "), str(count)) for cause, count in counts.items() if count]
    return rows


def _calibration(drive: Drive) -> list[tuple[str, str]]:
    known = drive.curves["confidence"][np.isfinite(drive.curves["confidence"])]
    if not len(known):
        return [("Calibration", "not known: there are no distances")]
    kinds = {"file": "from a file", "lens": "from lens and height", "estimated": "estimated from the road"}
    sources = ", ".join(kinds.get(source, source) for source in drive.views)
    low = float((known < 0.5).mean())
    return [
        ("Calibration", f"{sources}; confidence {np.median(known):.2f} in the middle, under 0.5 in {low:.0%} of frames")
    ]


def _known(drive: Drive) -> list[tuple[str, str]]:
    names = (("offset", "Frames with an offset in the lane"), ("distance", "Frames with a distance ahead"))
    return [(said, _share(int(np.isfinite(drive.curves[name]).sum()), len(drive.times))) for name, said in names]


def _darkness(thumbnails: Sequence[Thumbnail]) -> tuple[str, str]:
    if not thumbnails:
        return "Darkness", "not measured: there are no pictures"
    dark = sum(each.luma < DARK for each in thumbnails)
    return "Darkness", f"{dark} of the {len(thumbnails)} pictures above are dark (mean luma under {DARK:g})"


def _rain() -> tuple[str, str]:
    return "Rain", "not measured"


def _share(part: int, whole: int) -> str:
    return f"{part} ({part / whole:.1%})" if whole else "0"
