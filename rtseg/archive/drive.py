"""A drive: one dashcam file, or a live road, to a video with what was seen, its tables, clips of events and a summary.

Nothing that is written says when, where or by which machine it was made: the same input with the same options gives the
same bytes, whatever runs beside it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtseg import registry
from rtseg.archive.analysis import Analysis, analysis_of, check_installed
from rtseg.archive.folder import CLIPS, SUMMARY, VIDEO, check_input, clear_folder
from rtseg.archive.log import log_of
from rtseg.archive.options import DriveOptions
from rtseg.archive.pages import write_page
from rtseg.archive.summary import summarize
from rtseg.build import Job, build, build_source
from rtseg.config import Config, parse_config
from rtseg.driving.tables import Tables
from rtseg.errors import SinkError
from rtseg.live.playback import Playback
from rtseg.options import configure
from rtseg.places import redact
from rtseg.reports import PAGE
from rtseg.sinks.addresses import parse_address
from rtseg.sinks.clips import cut
from rtseg.sinks.codecs import CONTAINERS
from rtseg.sinks.files import make_folder, write_whole
from rtseg.stats import Stats
from rtseg.types import Sink, StreamInfo

__all__ = ["HUD", "Drive", "DriveOptions", "drive", "drive_config", "open_drive"]

HUD = "hud"


def drive(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    options: DriveOptions | None = None,
    *,
    more_sinks: Sequence[Sink] = (),
    stop: threading.Event | None = None,
    progress: Callable[[Stats], None] | None = None,
) -> tuple[Stats, dict[str, Any]]:
    """Write `annotated.mp4`, the tables, `clips/`, `report.html` and `summary.json` into `folder`; the stats, and the
    summary.

    What an earlier drive made there is taken away first. Raises `RtsegError` of the kind that fits, before anything is
    written where that is possible.
    """  # fmt: skip
    return open_drive(source, folder, options, more_sinks=more_sinks).run(stop=stop, progress=progress)


def open_drive(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    options: DriveOptions | None = None,
    *,
    more_sinks: Sequence[Sink] = (),
) -> Drive:
    """The same, open and waiting: its `info` is known."""
    chosen = DriveOptions() if options is None else options
    name = chosen.stream or _name_of(source)
    gps, notes = log_of(source, chosen)
    check_installed(chosen)
    analysis = analysis_of(chosen, gps=gps)
    config = _config(source, chosen, analysis)
    notes = (*notes, *analysis.notes)
    place = make_folder(folder)
    check_input(place, os.fspath(source))
    tables = Tables(place, stream=name, parquet=chosen.parquet)
    try:
        job = _job(config, place, tables, name, chosen, more_sinks)
    except BaseException:
        tables.discard()
        raise
    try:
        clear_folder(place)
    except BaseException:
        tables.discard()
        job.close()
        raise
    return Drive(job, tables, place, os.fspath(source), config, chosen, name, notes)


@dataclass(frozen=True, eq=False)
class Drive:
    """A drive that is open; whoever has it runs it."""

    job: Job
    tables: Tables
    folder: Path
    source: str
    config: Config
    options: DriveOptions
    name: str
    notes: tuple[str, ...] = ()

    @property
    def info(self) -> StreamInfo:
        """Of the input."""
        return self.job.source.info

    def run(
        self, *, stop: threading.Event | None = None, progress: Callable[[Stats], None] | None = None
    ) -> tuple[Stats, dict[str, Any]]:
        """Take the input to its end; the stats, and the summary."""
        job, tables = self.job, self.tables
        stats = job.run(stop=stop, progress=progress)
        clips = _clips(self.source, self.folder, tables, self.options, live=job.source.live)
        about: dict[str, Any] = {"name": self.name, "model": job.card.name}
        about["analyzers"] = [each.type for each in self.config.analyzers]
        notes = [*job.notes, *self.notes, *clips.notes]
        summary = summarize(self.folder, about, stats, tables, clips=clips.made, notes=notes)
        if self.options.report and stats.frames_out:
            note = write_page(self.folder, self.name, summary)
            summary = {**summary, "report": None if note else PAGE, "notes": [*notes, *([note] if note else ())]}
        text = json.dumps(summary, indent=2) + "\n"
        write_whole(self.folder / SUMMARY, text.encode())
        return stats, summary


def drive_config(source: str | os.PathLike[str], options: DriveOptions) -> Config:
    """The run behind a drive, without its log and its outputs; raises as `analysis_of` does."""
    return _config(source, options, analysis_of(options))


def _config(source: str | os.PathLike[str], options: DriveOptions, analysis: Analysis) -> Config:
    overlay = options.overlay
    hud = overlay is None and HUD in registry.entries("effect")
    base = configure(
        source,
        model=options.model,
        overlay=None if hud else overlay or "road",
        providers=options.providers,
        threads=options.threads,
    )
    model = base.model.model_copy(update={"every": options.every})
    parsed = parse_config(
        {"analyzers": list(analysis.tables), "effects": [{"type": HUD}] if hud else []}, origin="drive"
    )
    effects = parsed.effects if hud else base.effects
    return base.model_copy(update={"model": model, "analyzers": parsed.analyzers, "effects": effects})


def _job(
    config: Config, place: Path, tables: Tables, name: str, options: DriveOptions, more_sinks: Sequence[Sink]
) -> Job:
    video: dict[str, Any] = {"type": "video", "path": str(place / VIDEO), "codec": options.codec}
    sinks: list[dict[str, Any]] = [video, *map(parse_address, options.to)]
    if options.kafka is not None:
        sinks.append({"type": "kafka", "servers": options.kafka, "topic": options.topic, "stream": name})
    made = config.model_copy(update={"sinks": parse_config({"sinks": sinks}, origin="drive").sinks})
    source = None
    if options.live and made.source is not None:
        source = build_source(made.source)
        if not source.live:  # a file as if it came from a camera
            source.close()
            wanted = made.source
            source = Playback(lambda: build_source(wanted))
    return build(made, more_sinks=[tables, *more_sinks], source=source)


@dataclass(frozen=True, slots=True)
class _Clips:
    made: dict[str, dict[str, Any]]
    notes: list[str]


def _clips(source: str | os.PathLike[str], place: Path, tables: Tables, options: DriveOptions, *, live: bool) -> _Clips:
    """A clip for each event: of the input, or of the annotated video where the input is gone with its moment."""
    made: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    if not options.clips or not tables.events:
        return _Clips(made, notes)
    path = place / VIDEO if live else Path(source)
    if not path.is_file():
        return _Clips(made, ["no clips: the input is no file"])
    suffix = path.suffix.lower() if path.suffix.lower() in CONTAINERS else ".mkv"
    folder = make_folder(place / CLIPS)
    zero = (tables.first or 0.0) if live else 0.0  # what is recorded live begins with its first frame
    for event in tables.events:
        begin, end = float(event["start"] or 0.0) - zero, float(event["end"] or 0.0) - zero
        name = f"{event['id']}{suffix}"
        try:
            clip = cut(path, folder / name, start=max(0.0, begin - options.lead), end=end + options.tail)
        except SinkError as error:
            notes.append(f"no clip of {event['id']}: {str(error).replace(str(place), '.')}")
            continue
        made[str(event["id"])] = {
            "file": f"{CLIPS}/{name}",
            "of": path.name if live else "input",
            "from": round(clip.start, 6),
            "to": round(clip.end, 6),
            "event_at": round(begin - clip.start, 6),
            "frames": clip.frames,
        }
    return _Clips(made, notes)


def _name_of(source: str | os.PathLike[str]) -> str:
    text = os.fspath(source)
    return redact(text) if "://" in text or text.startswith("synthetic:") else Path(text).name
