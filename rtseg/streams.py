"""Many runs in one process around one network: opened together, run beside each other, none the worse for another."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from rtseg import store
from rtseg.build import Job, build
from rtseg.cards import Card
from rtseg.config import Config, ModelOptions
from rtseg.engines import build_engine
from rtseg.families import QUERY_OPTIONS
from rtseg.inference.engine import OrtEngine
from rtseg.inference.pool import usual_lanes
from rtseg.inference.scheduler import BUCKETS, GATHER, Scheduler, StreamEngine
from rtseg.runner import opencv_in_one_thread
from rtseg.stats import Stats
from rtseg.types import Sink

__all__ = ["Networks", "StreamResult", "open_scheduler", "open_streams", "run_streams"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamResult:
    """How a stream ended: with its stats, or with the error that ended it."""

    stats: Stats | None
    error: BaseException | None = None


def open_scheduler(
    options: ModelOptions,
    *,
    card: Card | None = None,
    buckets: Sequence[int] = BUCKETS,
    gather: float = GATHER,
    parallel: int | None = None,
    capacity: float | None = 0.85,
) -> Scheduler:
    """A scheduler for the model that `options` name, its weights in memory once; on a device, the CPU is the fallback.

    The other options are those of `Scheduler`. Raises what models and engines raise.
    """
    card = store.find_card(options.name) if card is None else card
    on_cpu_only = options.providers in (None, ("cpu",))
    if parallel is None and on_cpu_only:
        parallel = max(1, usual_lanes(("cpu",)) // (options.threads or 1))
    on_device = _Engines(options, card)
    on_cpu = _Engines(options.model_copy(update={"providers": ("cpu",)}), card)
    return Scheduler(
        on_device.open,
        fallback=None if on_cpu_only else on_cpu.open,
        buckets=buckets,
        gather=gather,
        parallel=parallel,
        capacity=capacity,
    )


_OWN = ("adaptive", "every", "focus", "views", "preset", "subject", "keep_held", "fused", "task")
"""Options of a model that may differ between the streams around one network, beside those of queries."""


class Networks:
    """Schedulers by what they run: streams of one `[model]` share a network. For any thread.

    capacity: as in `Scheduler`. A network stays open until `close`, for the next stream of it.
    """

    def __init__(self, *, capacity: float | None = 0.85) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._known: dict[ModelOptions, Scheduler] = {}

    def stream(self, options: ModelOptions, *, rate: float | None = None) -> StreamEngine:
        """An engine for one more stream of that model; raises what models and engines raise, and Overloaded."""
        # What differs between its streams.
        network = options.model_copy(update=dict.fromkeys((*_OWN, *QUERY_OPTIONS)))
        with self._lock:
            if network not in self._known:
                self._known[network] = open_scheduler(network, capacity=self._capacity)
            return self._known[network].stream(rate=rate)

    def close(self) -> None:
        """Give all networks back."""
        with self._lock:
            while self._known:
                self._known.popitem()[1].close()


@contextmanager
def open_streams(
    configs: Sequence[Config],
    *,
    rate: float | None = None,
    capacity: float | None = 0.85,
    more_sinks: Sequence[Sequence[Sink]] | None = None,
) -> Iterator[list[Job]]:
    """Jobs for `run_streams`, one a configuration; those of one `[model]` share a network while the block lasts.

    rate: frames a second of each stream, for admission; None for files, which take what is left. more_sinks: further
    outputs, a list a configuration. Whole frames are not fused to one graph: that is for streams on their own.

    Raises what `rtseg.build.build` raises, and Overloaded; what was opened before the error is closed.
    """
    with contextlib.ExitStack() as networks, contextlib.ExitStack() as opened:
        shared = Networks(capacity=capacity)
        networks.callback(shared.close)
        jobs = []
        for place, config in enumerate(configs):
            engine = shared.stream(config.model, rate=rate)
            opened.callback(engine.close)
            jobs.append(build(config, more_sinks=more_sinks[place] if more_sinks else (), engine=engine))
            opened.callback(jobs[-1].close)
        opened.pop_all()
        yield jobs


def run_streams(
    jobs: Sequence[Job],
    *,
    stop: threading.Event | None = None,
    progress: Callable[[int, Stats], None] | None = None,
) -> list[StreamResult]:
    """Run all jobs at once, each with threads of its own; how each ended, in their order.

    Jobs share a network where their engines are streams of one scheduler (`build(config, engine=scheduler.stream())`).
    What ends one, an error of its input or output, leaves the others alone. stop: set it to stop every intake.
    progress: called with a job's place and its stats, in that job's thread.
    """
    results: list[StreamResult] = [StreamResult(None)] * len(jobs)

    def take(place: int, job: Job) -> None:
        told = None if progress is None else lambda stats: progress(place, stats)
        try:
            results[place] = StreamResult(job.run(stop=stop, progress=told))
        except BaseException as error:  # whatever it is, it is this stream's
            log.warning("stream %d (%s) ended: %s", place, job.source.info.name, error)
            results[place] = StreamResult(None, error)
        finally:
            ended[place].set()

    # Not by join, which an interrupt makes Python 3.11 believe that a thread which still runs has ended.
    ended = [threading.Event() for _ in jobs]
    stop = threading.Event() if stop is None else stop
    threads = [
        threading.Thread(target=take, args=(place, job), name=f"rtseg-stream-{place}", daemon=True)
        for place, job in enumerate(jobs)
    ]
    with opencv_in_one_thread():  # each run does so, but the first to end would undo it
        try:
            for thread in threads:
                thread.start()
            for event in ended:
                event.wait()
        except BaseException:  # KeyboardInterrupt too must leave whole files behind
            stop.set()
            for thread, event in zip(threads, ended, strict=True):
                if thread.ident is not None:
                    event.wait()
            raise
    return results


class _Engines:
    """Engines by batch; those of one batch share a session while any of them lives."""

    def __init__(self, options: ModelOptions, card: Card) -> None:
        self._options, self._card = options, card
        self._kept: WeakValueDictionary[int, OrtEngine] = WeakValueDictionary()  # what is given up frees its memory

    def open(self, batch: int) -> OrtEngine:
        if (kept := self._kept.get(batch)) is not None:
            return kept.fork()
        engine = build_engine(self._options, self._card, batch=batch)
        self._kept[batch] = engine
        return engine
