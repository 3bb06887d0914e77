"""Threads that own pipelines, and the queue before them."""

from __future__ import annotations

import ctypes
import queue
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import cv2

from rtseg import store
from rtseg.build import build_pipeline, default_filters
from rtseg.cards import Card
from rtseg.config import Config, ModelOptions
from rtseg.errors import ConfigError, InferenceFailed
from rtseg.pipeline import Pipeline
from rtseg.service.settings import Settings
from rtseg.types import Frame, Segmentation

T = TypeVar("T")
_IDLE = 0.5
"""Seconds without work after which a worker gives memory back."""


@dataclass(frozen=True, eq=False, slots=True)
class Model:
    """A card and a pipeline of one worker's own, without effects."""

    card: Card
    pipeline: Pipeline

    def __call__(self, frame: Frame) -> Segmentation:
        """The segmentation of this frame and of no other.

        Raises InferenceFailed where a live run would hold the last mask: here that is somebody else's.
        """
        output = self.pipeline(frame)
        if output.held:
            raise InferenceFailed(f"model {self.card.name!r} gave no mask")
        return output.segmentation


Models: TypeAlias = Mapping[str, Model]
"""By the name that requests use, `owner/name` included; the first is the default."""


def load_models(settings: Settings) -> list[Models]:
    """The models once for each worker. Raises what cards, weights and engines raise."""
    cards = [store.find_card(name) for name in settings.models]
    if len({card.name for card in cards}) < len(cards):
        raise ConfigError(f"two of the models {', '.join(settings.models)} have one name: name each once")
    return [{card.name: Model(card, _pipeline(card, settings)) for card in cards} for _ in range(settings.workers)]


def _pipeline(card: Card, settings: Settings) -> Pipeline:
    options = ModelOptions(
        name=card.name, providers=settings.providers, threads=settings.threads, timeout=settings.timeout
    )
    # Pictures stand alone: nothing is smoothed over time.
    return build_pipeline(
        Config(model=options, filters=default_filters(card, alone=True), effects=()), card=card, pictures=False
    )


class Workers:
    """A thread for each set of models; jobs are taken in the order in which they came.

    The queue has no bound of its own: who submits counts (`guard.py`), and a job given up before its turn is skipped.
    """

    def __init__(self, models: Sequence[Models]) -> None:
        cv2.setNumThreads(1)  # a worker is a core: more threads of OpenCV cost CPU and add no pictures
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[Models], Any]] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, args=(own,), name=f"worker-{index}", daemon=True)
            for index, own in enumerate(models)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that no worker has begun."""
        return self._jobs.qsize()

    def submit(self, job: Callable[[Models], T]) -> Future[T]:
        """Have it run by whichever worker is free first; cancelling the future before that leaves it out."""
        future: Future[T] = Future()
        self._jobs.put((future, job))
        return future

    def close(self) -> None:
        """Finish what was submitted, then end the threads."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, models: Models) -> None:
        idle: float | None = None
        while True:
            try:
                item = self._jobs.get(timeout=idle)
            except queue.Empty:
                _give_back()
                idle = None
                continue
            if item is None:
                return
            future, job = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(job(models))
                except BaseException as error:
                    future.set_exception(error)
            del item, future, job  # a picture is not kept until the next one comes
            idle = _IDLE


def _give_back() -> None:
    """Let glibc return what it keeps of freed pictures: hundreds of MB after a large one. Elsewhere nothing."""
    if _trim is not None:
        _trim(0)


_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
