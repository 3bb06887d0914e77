"""How much memory a run takes, and whether it grows: rtseg over a long 720p clip.

    python -m benchmarks.memory --frames 5000 --background blur

Fails (exit 1) when the peak is over 450 MB, or when the median of the last 500 frames' readings is more than 4 MB
over that around frame 500: less is the allocator's noise, and a leak of one frame in a thousand shows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import clips
from benchmarks.job import Job
from benchmarks.measure import ROOT, machine, run_child
from rtseg.bench.settings import ENCODER

PEAK_MB = 450.0
GROWTH_MB = 4.0
_UNIQUE = 300


@dataclasses.dataclass(frozen=True)
class Memory:
    """peak_mb: of the process. early_mb, late_mb: resident around frame 500 and over the last 500 frames."""

    peak_mb: float
    early_mb: float
    late_mb: float

    @property
    def passed(self) -> bool:
        """Whether both limits are kept."""
        return self.peak_mb <= PEAK_MB and self.late_mb - self.early_mb <= GROWTH_MB


def judge(resident_mb: Mapping[int, float], peak_mb: float, *, settled: int = 500) -> Memory:
    """The readings, frame -> MB, reduced to what is judged; a fifth around `settled`, and the last `settled`."""
    early = [mb for frame, mb in resident_mb.items() if abs(frame - settled) <= settled // 5]
    last = max(resident_mb)
    late = [mb for frame, mb in resident_mb.items() if frame > last - settled]
    return Memory(peak_mb, statistics.median(early), statistics.median(late))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", choices=clips.SIZES, default="720p")
    parser.add_argument("--background", choices=("picture", "blur"), default="picture")
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--input", type=Path, help="a video; scaled to --size once (default: the built-in sample)")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "benchmarks", help="for clips")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args(arguments)
    if options.frames < 1000:
        parser.error("--frames must be at least 1000, so that there is something to compare frame 500 with")
    size = clips.SIZES[options.size]
    clip = clips.repeated(clips.clip(options.folder, size, _UNIQUE, options.input), options.frames)
    background = "blur" if options.background == "blur" else str(clips.picture(options.folder, size))
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="run-") as scratch:
        output = str(Path(scratch) / "output.mp4")
        job = Job(str(clip), output, options.frames, *size, clips.RATE, background, dict(ENCODER), "")
        noted = json.loads(run_child("memory", job))
    resident = {int(frame): mb for frame, mb in noted["resident_mb"].items()}
    memory = judge(resident, noted["peak_mb"])
    console = Console()
    console.print(
        f"{options.size}, background {options.background}, {max(resident)} frames: peak {memory.peak_mb:.0f} MB "
        f"(at most {PEAK_MB:.0f}), {memory.early_mb:.1f} MB around frame 500, {memory.late_mb:.1f} MB at the end "
        f"(at most {GROWTH_MB:.0f} more): {'passed' if memory.passed else 'FAILED'}",
        markup=False,
    )
    if options.json:
        result = dataclasses.asdict(memory) | {
            "passed": memory.passed, "resident_mb": resident, "machine": machine()
        }  # fmt: skip
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if memory.passed else 1


if __name__ == "__main__":
    sys.exit(main())
