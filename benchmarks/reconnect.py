"""How soon a stream is back after its server was: an RTSP server (GStreamer) killed and started again, many times.

    python -m benchmarks.reconnect --cycles 20

Times are from the moment that the server listens again to the first frame that came after it; before that it is down
for one to nearly three seconds. Fails (exit 1) when one is over 2 s, or when threads, descriptors or memory are
more at the end than after the second return (memory: by 2 MB, the allocator's noise). Needs Debian's
gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-good, -bad and -ugly, and python3-gi.
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from benchmarks.rtsp_server import RtspServer, missing
from rtseg.sources.stream import LiveVideo, Transport
from rtseg.tables import Table
from rtseg.types import Frame

LIMIT_S = 2.0
GROWTH_MB = 2.0
_SETTLED = 2
"""Returns before growth is looked for: decoders and threads make room for themselves first."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """A kill and a return. down, back: seconds without a server, and from it until a frame. The rest is after it."""

    down: float
    back: float
    epoch: int
    threads: int
    descriptors: int
    resident_mb: float


def measure(cycles: int, *, transport: Transport, seed: int = 0) -> list[Cycle]:
    """Kill and start a server that many times while one source, in this process, reads it."""
    rng = random.Random(seed)
    found = []
    with RtspServer() as server:
        source = LiveVideo(server.url, transport=transport, read_timeout=2.0)
        frames = iter(source)
        try:
            next(frames)
            for _ in range(cycles):
                server.kill()
                down = time.monotonic()
                time.sleep(rng.uniform(0.5, 2.5))
                server.start()
                up = time.monotonic()
                frame = _first_after(up, frames)
                settled = time.monotonic() + 0.5
                while next(frames).arrived < settled:
                    pass
                found.append(Cycle(up - down, frame.arrived - up, frame.epoch, *_held()))
        finally:
            source.close()
    return found


def _first_after(moment: float, frames: Iterator[Frame]) -> Frame:
    return next(frame for frame in frames if frame.arrived > moment)


def _held() -> tuple[int, int, float]:
    """Threads, descriptors and resident MB of this process."""
    status = Path("/proc/self/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), resident / 1024


def failures(cycles: Sequence[Cycle]) -> list[str]:
    """What is not as it must be."""
    told = []
    if (slowest := max(cycle.back for cycle in cycles)) > LIMIT_S:
        told.append(f"a return took {slowest:.2f} s: allowed are {LIMIT_S:g}")
    early, late = cycles[min(_SETTLED, len(cycles) - 1)], cycles[-1]
    for what, before, after, allowed in (
        ("threads", early.threads, late.threads, 0),
        ("descriptors", early.descriptors, late.descriptors, 0),
        ("MB", early.resident_mb, late.resident_mb, GROWTH_MB),
    ):
        if after > before + allowed:
            told.append(f"{what} grew from {before:g} to {after:g}")
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reconnect", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--transport", choices=get_args(Transport), default="tcp")
    options = parser.parse_args(arguments)
    if (why := missing()) is not None:
        print(f"no RTSP server here: {why}")
        return 1
    transport: Literal["tcp", "udp"] = options.transport
    cycles = measure(options.cycles, transport=transport)
    rows = tuple(
        (str(i), f"{c.down:.2f}", f"{c.back:.2f}", str(c.threads), str(c.descriptors), f"{c.resident_mb:.1f}")
        for i, c in enumerate(cycles, start=1)
    )
    headings = ("return", "down, s", "first frame after, s", "threads", "descriptors", "resident, MB")
    print(Table("Returns", headings, rows, words=0).markdown)
    times = [cycle.back for cycle in cycles]
    print(f"\n{transport}: first frame after {statistics.median(times):.2f} s (median), {max(times):.2f} s (slowest)")
    problems = failures(cycles)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
