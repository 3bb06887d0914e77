"""What was measured, as tables for people and as data for programs."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from rtseg.cards import Card
from rtseg.evaluate.flicker import ClipScores
from rtseg.evaluate.plan import Options
from rtseg.evaluate.road_tables import figure
from rtseg.evaluate.scores import SetScores
from rtseg.evaluate.tables import missing_names, set_tables
from rtseg.sinks.files import make_folder, write_whole
from rtseg.tables import Table


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """What is known of a model without data. cpu_ms: of a run of its network; ratio: to the first model's."""

    name: str
    sha256: str
    input: tuple[int, int]
    cpu_ms: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about an evaluation; `data` also holds options and the machine."""

    models: tuple[ModelFigures, ...]
    sets: tuple[SetScores, ...]
    clips: tuple[ClipScores, ...]
    options: Options
    threads: int
    machine: str
    date: str
    version: str

    @property
    def tables(self) -> list[Table]:
        """Models, then the tables of each set, then the clips."""
        titles = list(dict.fromkeys(scores.data for scores in self.sets))
        sets = [set_tables([scores for scores in self.sets if scores.data == title]) for title in titles]
        models = [_model_table(self.models, self.threads)] if self.models else []
        return [*models, *chain(*sets), *_clip_tables(self.clips)]

    @property
    def data(self) -> dict[str, Any]:
        """Plain values, all figures at full precision."""
        values = {**asdict(self), "options": self.options.model_dump()}
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]

    @property
    def markdown(self) -> str:
        """The report as a page."""
        about = [
            f"rtseg {self.version}, {self.date}, {self.machine}.",
            "",
            f"Masks at threshold 0.5 and the picture's own size. Boundary F within {self.options.boundary:g} of the "
            f"diagonal; line F1 within {self.options.line_tolerance:g} pixels of a width of {self.options.line_width}. "
            "IoU mean, IoU median and boundary F are over pictures; IoU pooled, accuracy and line F1 over all pixels "
            "of the set. How each is computed: docs/evaluate.md.",
            *chain(*(("", sentence) for sentence in missing_names(self.sets))),
        ]
        parts = [f"## {table.title}\n\n{table.markdown}" for table in self.tables]
        hashes = [f"- `{model.name}` {model.sha256}" for model in self.models]
        return "\n".join(["# Evaluation", "", *about, "", "\n\n".join(parts), "", "## Weights", "", *hashes, ""])

    def write(self, folder: Path) -> None:
        """`report.md` and `report.json` in a folder, which is made where missing. Raises SinkError."""
        make_folder(folder)
        write_whole(folder / "report.md", self.markdown.encode())
        text = json.dumps(self.data, indent=1, ensure_ascii=False)
        write_whole(folder / "report.json", f"{text}\n".encode())


def make_report(
    cards: Sequence[Card],
    times: dict[str, float],
    sets: Sequence[SetScores],
    clips: Sequence[ClipScores],
    *,
    options: Options,
    threads: int,
) -> Report:
    """Results with the machine, the day and the weights that they belong to; times: CPU-ms by model."""
    first = times[cards[0].name] if cards else 0.0
    figures = [
        ModelFigures(card.name, card.sha256, card.input.size, times[card.name], times[card.name] / max(first, 1e-9))
        for card in cards
    ]
    return Report(
        tuple(figures),
        tuple(sets),
        tuple(clips),
        options,
        threads,
        processor(),
        datetime.datetime.now(datetime.UTC).date().isoformat(),
        importlib.metadata.version("rtseg"),
    )


def processor() -> str:
    """The name of the processor, as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _model_table(models: Sequence[ModelFigures], threads: int) -> Table:
    rows = [(m.name, "{}x{}".format(*m.input), f"{m.cpu_ms:.1f}", f"{m.ratio:.2f}") for m in models]
    title = f"Network, {threads} thread{'s' * (threads > 1)}"
    return Table(title, ("model", "input", "CPU-ms", "ratio"), tuple(rows), 1)


def _clip_tables(clips: Sequence[ClipScores]) -> list[Table]:
    """Flicker by region with a mean over clips, and agreement with teachers; both only where measured."""
    tables = []
    flicker = [clip for clip in clips if not clip.teacher]
    if flicker:
        rows = []
        for region in dict.fromkeys(clip.region for clip in flicker):
            for model in dict.fromkeys(clip.model for clip in flicker if clip.region == region):
                own = [clip for clip in flicker if (clip.region, clip.model) == (region, model)]
                rows.append((region, model, _mean_of([c.warp for c in own]), _mean_of([c.static for c in own])))
        many = len({clip.clip for clip in flicker})
        title = f"Flicker x1000, mean of {many} clip{'s' * (many > 1)}"
        tables.append(Table(title, ("region", "model", "warp", "static"), tuple(rows)))
    for teacher in dict.fromkeys(clip.teacher for clip in clips if clip.teacher):
        own = [clip for clip in clips if clip.teacher == teacher]
        names = list(dict.fromkeys(clip.clip for clip in own))
        found = {(clip.region, clip.model, clip.clip): clip.agreement for clip in own}
        pairs = dict.fromkeys((clip.region, clip.model) for clip in own)
        agreed = [(*pair, *(figure(found.get((*pair, name))) for name in names)) for pair in sorted(pairs)]
        tables.append(Table(f"Line F1 against {teacher}", ("region", "model", *names), tuple(agreed)))
    return tables


def _mean_of(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.2f}" if known else "–"
