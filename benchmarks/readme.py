"""Puts the figures of `benchmarks.pipeline` into the README, so that nobody types them.

    python -m benchmarks.readme picture.json blur.json

Each file is what `python -m benchmarks.pipeline --json FILE` wrote.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT

_BEGIN, _END = "<!-- figures: python -m benchmarks.readme -->\n", "<!-- end of figures -->"
_PROGRAMS = {
    "floor": "decode and encode alone, which nobody can avoid",
    "network": "the network alone",
    "rtseg": "**rtseg**",
    "mediapipe_sample": "MediaPipe 0.10.21, the loop of its documentation",
    "naive": "a naive loop: BGR, float blend, the same network",
}


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: CPU-ms a frame of every program, a column for each result, and what they were measured on."""
    heads = " | ".join(result["title"].split(", ")[0] + ", " + _background(result) for result in results)
    lines = [f"| CPU-milliseconds a frame | {heads} |", "|---|" + "---|" * len(results)]
    for program, words in _PROGRAMS.items():
        cells = " | ".join(_cell(result, program) for result in results)
        lines.append(f"| {words} | {cells} |")
    lines.append("| rtseg's peak memory | " + " | ".join(_peak(result) for result in results) + " |")
    on = results[0]["machine"]
    lines += [
        "",
        f"Whole processes, all threads, one decoder and one encoder thread each, H.264 in and out (x264 ultrafast), "
        f"the portrait model on every frame; medians of interleaved rounds on {on['cores']} cores of {on['cpu']}, "
        f"commit {on['commit'][:12]}, clip: {results[0]['clip']}. `make bench` measures it on your machine.",
    ]
    return "\n".join(lines) + "\n"


def _background(result: Mapping[str, Any]) -> str:
    return "blur" if "background blur" in result["title"] else "picture"


def _cell(result: Mapping[str, Any], program: str) -> str:
    report = result["median"].get(program)
    return f"{report['cpu_ms']:.1f}" if report else "not measured"


def _peak(result: Mapping[str, Any]) -> str:
    return f"{result['median']['rtseg']['peak_mb']:.0f} MB"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    options = parser.parse_args(arguments)
    text = options.readme.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        parser.error(f"{options.readme} lacks the lines {_BEGIN.strip()} and {_END}")
    results = [json.loads(path.read_text()) for path in options.results]
    options.readme.write_text(before + begin + table(results) + end + after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
