"""rtseg over a long clip, noting its resident memory on the way: one line of JSON with frame -> MB, and the peak."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from rtseg.bench.job import peak_memory_mb, read_job
from rtseg.bench.whole import open_job
from rtseg.types import Output, Sink


class Watched:
    """Passes everything on to a sink and notes the memory at every hundredth frame."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._count = 0
        self.resident_mb: dict[int, float] = {}

    def write(self, output: Output) -> None:  # noqa: D102 - see Sink
        self._sink.write(output)
        self._count += 1
        if self._count % 100 == 0:
            self.resident_mb[self._count] = resident_memory_mb()

    def close(self) -> None:  # noqa: D102
        self._sink.close()


def resident_memory_mb() -> float:
    """Resident memory of this process now, in MB (10^6 bytes); Linux only."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("/proc/self/status has no VmRSS: this measurement needs Linux")


def main() -> None:
    ready = open_job(read_job())
    watched = Watched(ready.sinks[0])
    replace(ready, sinks=(watched,)).run()
    print(json.dumps({"resident_mb": watched.resident_mb, "peak_mb": peak_memory_mb()}))


if __name__ == "__main__":
    main()
