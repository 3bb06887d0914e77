"""A program that runs a job until its first frame is written, and prints what that took: wall and CPU seconds."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace

from rtseg.bench.job import read_job
from rtseg.bench.whole import open_job
from rtseg.types import Output, Sink


class Stopping:
    """Passes the first frame on, notes the times and stops the run."""

    def __init__(self, sink: Sink, stop: threading.Event) -> None:
        self._sink, self._stop = sink, stop
        self.written: tuple[float, float] | None = None

    def write(self, output: Output) -> None:
        """See Sink."""
        self._sink.write(output)
        if self.written is None:
            self.written = time.monotonic(), time.process_time()
            self._stop.set()

    def close(self) -> None:
        """See Sink."""
        self._sink.close()


def main() -> None:
    """The job, and `time.monotonic()` at the moment the process was asked for, which all processes share."""
    ready, stop = open_job(read_job()), threading.Event()
    stopping = Stopping(ready.sinks[0], stop)
    replace(ready, sinks=(stopping,)).run(stop=stop)
    assert stopping.written is not None
    print(stopping.written[0] - float(sys.argv[2]), stopping.written[1], flush=True)


if __name__ == "__main__":
    main()
