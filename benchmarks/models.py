"""Our models beside their peers: the tables of docs/models/*.md and the figures on our cards, by `rtseg eval`.

    RTSEG_MODELS=/folder/of/peers python -m benchmarks.models portrait road nuclei -o out/models

Needs the labelled sets of `benchmarks/eval/*.toml` under RTSEG_SHARED. Only what recipes hold back is counted.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import ROOT, machine
from rtseg import store
from rtseg.evaluate.evaluation import evaluate
from rtseg.evaluate.plan import make_plan
from rtseg.evaluate.report import Report

BEGIN, END = "<!-- figures: python -m benchmarks.models -->\n", "<!-- end of figures -->"
MODELS = {
    "portrait": (
        ("portrait", "portrait-fast", "portrait-studio"),
        ("selfie-landscape", "selfie-general", "pphumanseg-lite"),
    ),
    "road": (("road", "road-fast"), ("twinlitenet", "twinlitenetplus-small", "twinlitenetplus-nano", "espnetv2-city")),
    "nuclei": (("nuclei",), ()),
}
"""Page -> our models and their peers."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pages", nargs="*", choices=[*MODELS, []], help="default: all")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "out" / "models")
    parser.add_argument("--keep", action="store_true", help="leave pages and cards as they are")
    options = parser.parse_args(arguments)
    os.environ.setdefault("RTSEG_SHARED", str(ROOT.parent / "shared"))
    for page in options.pages or MODELS:
        ours, peers = MODELS[page]
        cards = [store.find_card(name) for name in (*ours, *peers)]
        plan = make_plan([ROOT / "benchmarks" / "eval" / f"{page}.toml"], cards)
        report = evaluate(cards, plan, folder=options.output / page)
        print(report.markdown)
        if not options.keep:
            _write_page(ROOT / "docs" / "models" / f"{page}.md", report)
            for name in ours:
                _write_metrics(ROOT / "models" / f"{name}.toml", report)
    return 0


def _write_page(path: Path, report: Report) -> None:
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{path} lacks the lines {BEGIN.strip()} and {END}")
    _, _, tables = report.markdown.partition("# Evaluation\n\n")
    figures = tables.partition("\n## Weights")[0].replace("\n## ", "\n### ")
    path.write_text(f"{before}{begin}{figures}\nCommit {machine()['commit'][:12]}.\n{end}{after}", encoding="utf-8")


def _write_metrics(path: Path, report: Report) -> None:
    """Replace the card's table of metrics; what was not measured here (the parity of the export) stays."""
    text = path.read_text(encoding="utf-8")
    head, _, old = text.partition("[metrics]")
    kept = re.findall(r"^parity = .+$", old, re.MULTILINE)
    figures = [f"{key} = {value}" for key, value in _metrics(report, path.stem).items()]
    note = f"# held-back pictures; CPU-ms at one thread of {report.machine}; how: benchmarks/models.py"
    path.write_text(f"{head.rstrip()}\n\n[metrics]  {note}\n" + "\n".join(figures + kept) + "\n", encoding="utf-8")


def _metrics(report: Report, model: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for scores in report.sets:
        if scores.model != model:
            continue
        place = re.sub(r"\W+", "_", scores.data)
        for region in scores.regions:
            name = f"{place}_{region.region}" if len(scores.regions) > 1 else place
            if region.line_f1 is not None:
                found[f"f1_{place}"] = round(region.line_f1, 3)
                continue
            pooled = len(scores.regions) > 1
            found[f"iou_{name}"] = round(region.iou if pooled else region.iou_mean, 3)
            if region.boundary_f is not None and not pooled:
                found[f"boundary_f_{name}"] = round(region.boundary_f, 3)
        if scores.precision is not None and scores.precision.ap50 is not None:
            found[f"ap50_{place}"] = round(scores.precision.ap50, 3)
    still = [clip.static for clip in report.clips if clip.model == model and clip.static is not None]
    if still:
        found["flicker_static"] = round(sum(still) / len(still), 2)
    found["cpu_ms"] = round(next(figures.cpu_ms for figures in report.models if figures.name == model), 2)
    return found


if __name__ == "__main__":
    sys.exit(main())
