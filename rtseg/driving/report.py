"""A drive as one page that needs nothing else: what happened, where, how sure that is; and an archive of drives."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from rtseg.driving.banner import TITLES
from rtseg.driving.markup import Markup, clock, joined, tag
from rtseg.driving.page import assembled
from rtseg.driving.plots import plot, timeline, way
from rtseg.driving.quality import quality_of
from rtseg.driving.recorded import SEVERITIES, Drive, Thumbnail, Told, beginnings_of, clips_of

VIDEOS = (".mp4", ".webm", ".mov", ".mkv")
EMBEDDED = 8 * 1024 * 1024
"""Bytes of clips that are put into the page itself; more stay beside it."""
_MOST = 1000
"""Events that are listed; the worst of more."""


def drive_page(
    drive: Drive, *, thumbnails: Sequence[Thumbnail] = (), video: Path | None = None, embedded: int = EMBEDDED
) -> str:
    """The page of a drive, HTML.

    thumbnails: for the timeline. video: of the drive, beside the page; events without a clip of their own are shown in
    it. embedded: how many bytes of clips may be in the page; where all are more, it links to them.
    """
    events = _worst(drive.events)
    clips = _clips(drive, embedded)
    source = None if video is None else _beside(video, drive.folder)
    plays = bool(clips) or source is not None
    shown = [_event(event, place) for place, event in enumerate(events)]
    listed = tag("ol", *(tag("li", each) for each in shown), class_="events") if shown else _none("Nothing happened.")
    body = joined(
        tag("h1", drive.name),
        _facts(drive),
        tag("h2", "Timeline"),
        _strip(thumbnails),
        timeline(drive),
        tag("h2", "Events"),
        _keys(plays=plays) if shown else "",
        tag("div", listed, _player() if plays else "", class_="watch" if plays and shown else "watch alone"),
        *([_none(f"The {_MOST} worst of {len(drive.events)} events.")] if len(events) < len(drive.events) else ()),
        tag("h2", "Curves"),
        _plots(drive),
        *_map([drive]),
        tag("h2", "How good the data is"),
        quality_of(drive, thumbnails),
    )
    names = {key: place for place, key in enumerate(clips)}
    beginnings = beginnings_of(drive)
    data = {
        "start": float(drive.times[0]),
        "length": max(drive.seconds, 1e-3),
        "zero": float(drive.times[0]),
        "video": source,
        "clips": list(clips.values()),
        "events": [
            {
                "start": e.start,
                "end": e.end,
                "severity": e.severity,
                "clip": names.get(e.id),
                "at": beginnings.get(e.id, 0.0),
            }
            for e in events
        ],
    }
    return assembled(drive.name, Markup(tag("main", body)), data)


def archive_page(drives: Sequence[tuple[Drive, str]], *, name: str, failed: Mapping[str, str] | None = None) -> str:
    """The page of an archive: a row a drive, the worst events of all. drives: each with the address of its page.

    failed: names of what has no page, and why.
    """
    rows = [
        tag(
            "tr",
            tag("td", tag("a", drive.name, href=address)),
            _number(clock(drive.seconds), "long"),
            _number("" if drive.metres is None else f"{drive.metres / 1000:.1f}", "km"),
            *(_number(str(drive.count(severity)), severity) for severity in SEVERITIES),
            _number(str(drive.held + drive.missing), "frames lost"),
            tag("td", str(drive.summary.get("status", ""))),
        )
        for drive, address in drives
    ]
    heads = ("long", "km", *SEVERITIES, "frames lost")
    head = tag("tr", tag("th", "drive"), *(tag("th", each, class_="number") for each in heads), tag("th", "status"))
    worst = sorted(
        ((event, drive, address) for drive, address in drives for event in drive.events),
        key=lambda each: (SEVERITIES.index(each[0].severity), each[1].name, each[0].start),
    )[:100]
    told = [
        tag(
            "tr",
            tag("td", tag("span", event.severity, class_="severity"), class_=event.severity),
            tag("td", title_of(event)),
            tag("td", tag("a", f"{drive.name}, {clock(event.start)}", href=f"{address}#{_anchor(event)}")),
        )
        for event, drive, address in worst
    ]
    trouble = [tag("tr", tag("td", each), tag("td", why)) for each, why in (failed or {}).items()]
    seconds = sum(drive.seconds for drive, _ in drives)
    ways = [drive.metres for drive, _ in drives if drive.metres is not None]
    body = joined(
        tag("h1", name),
        tag(
            "ul",
            _fact(str(len(drives)), "drives"),
            _fact(clock(seconds), "long"),
            *([_fact(f"{sum(ways) / 1000:.1f} km", "driven")] if ways else ()),
            *(_fact(str(sum(drive.count(each) for drive, _ in drives)), each) for each in SEVERITIES),
            class_="facts",
        ),
        tag("h2", "Drives"),
        tag("table", tag("thead", head), tag("tbody", *rows), class_="drives"),
        *([tag("h2", "Without a report"), tag("table", tag("tbody", *trouble))] if trouble else ()),
        tag("h2", "Worst events"),
        tag("table", tag("tbody", *told)) if told else _none("Nothing happened."),
        *_map([drive for drive, _ in drives]),
    )
    return assembled(name, Markup(tag("main", body)), {}, script=False)


def title_of(event: Told) -> str:
    """What an event is called: "Lane departure"."""
    known = {str(kind): title for kind, title in TITLES.items()}
    return known.get(event.kind, event.kind.replace("_", " "))


def _anchor(event: Told) -> str:
    """An id that is safe in an address, whatever the event is called."""
    return f"event-{quote(event.id, safe='')}"


def _event(event: Told, place: int) -> Markup:
    values = [
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in event.values.items()
    ]
    title = title_of(event)
    return tag(
        "button",
        tag("span", clock(event.start), class_="when"),
        tag("span", title),
        tag("span", event.severity, class_="severity"),
        tag("span", ", ".join([f"{event.end - event.start:.1f} s", *values]), class_="when"),
        id=_anchor(event),
        type="button",
        class_=f"event {event.severity}",
        data_title=f"{title}, {clock(event.start)}",
        data_place=place,
        aria_current="false",
    )


def _worst(events: Sequence[Told]) -> list[Told]:
    if len(events) <= _MOST:
        return list(events)
    ranked = sorted(events, key=lambda event: (SEVERITIES.index(event.severity), event.start))[:_MOST]
    return sorted(ranked, key=lambda event: event.start)


def _clips(drive: Drive, embedded: int) -> dict[str, str]:
    """The address of each event's clip, by the event's id: in the page where all have room there."""
    found = list(clips_of(drive))
    if sum(path.stat().st_size for _, path in found) > embedded:
        return {event.id: _beside(path, drive.folder) for event, path in found}
    kinds = {".mp4": "video/mp4", ".webm": "video/webm", ".mov": "video/quicktime", ".mkv": "video/x-matroska"}
    return {
        event.id: f"data:{kinds[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
        for event, path in found
    }


def _beside(path: Path, folder: Path) -> str:
    """A relative address; "./" in front, so that no name is taken for a scheme."""
    return "./" + quote(Path(os.path.relpath(path, folder)).as_posix())


def _facts(drive: Drive) -> Markup:
    speed = drive.curves["speed"]
    metres = drive.metres
    return tag(
        "ul",
        _fact(clock(drive.seconds), "long"),
        *([_fact(f"{metres / 1000:.1f} km", "driven")] if metres is not None else ()),
        *([_fact(f"{3.6 * np.nanmean(speed):.0f} km/h", "on average")] if np.isfinite(speed).any() else ()),
        *(_fact(str(drive.count(severity)), severity) for severity in SEVERITIES),
        class_="facts",
    )


def _fact(value: str, name: str) -> Markup:
    return tag("li", tag("b", value), name)


def _number(value: str, of: str) -> Markup:
    return tag("td", value, class_="number", data_of=of if value else None)


def _none(text: str) -> Markup:
    return tag("p", text, class_="none")


def _strip(thumbnails: Sequence[Thumbnail]) -> Markup:
    pictures = []
    for each in thumbnails:
        source = f"data:image/jpeg;base64,{base64.b64encode(each.jpeg).decode()}"
        picture = tag("img", src=source, alt=f"at {clock(each.seconds)}")
        pictures.append(tag("button", picture, type="button", data_seconds=f"{each.seconds:.3f}"))
    return tag("div", *pictures, class_="strip") if pictures else Markup("")


def _keys(*, plays: bool) -> Markup:
    keys = [(("j", "k"), "next, previous event"), (("n",), "next critical one")]
    keys += [(("Enter",), "play it"), (("p",), "pause")] if plays else []
    parts = [joined(*(joined(tag("kbd", key), " ") for key in each), told, "  ") for each, told in keys]
    return tag("p", *parts, class_="keys none")


def _player() -> Markup:
    video = tag("video", controls="", preload="none", playsinline="", aria_label="The clip of the event")
    return tag("div", video, tag("p", id="now", class_="none", aria_live="polite"), class_="player")


def _plots(drive: Drive) -> Markup:
    curves = drive.curves
    soon = np.where(curves["ttc"] <= 10, curves["ttc"], np.nan)
    return joined(
        plot(drive, curves["offset"], title="Offset in the lane", unit="m, to the right", least=-2.5, most=2.5,
             sigma=curves["offset_sigma"]),
        plot(drive, curves["distance"], title="Distance to the vehicle ahead", unit="m", least=0, most=100, base=0),
        plot(drive, soon, title="Time to collision", unit="s", least=0, most=10, base=0),
        plot(drive, 3.6 * curves["speed"], title="Speed", unit="km/h", least=0, most=250),
        plot(drive, curves["confidence"], title="Calibration confidence", unit="0 to 1", least=0, most=1, base=0),
    )  # fmt: skip


def _map(drives: Sequence[Drive]) -> list[Markup]:
    drawn = way(drives)
    return [] if drawn is None else [tag("h2", "The way"), drawn, _none("North is at the top; dots are events.")]
