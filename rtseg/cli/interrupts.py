"""SIGINT and SIGTERM: the first ends the intake and lets the outputs be finished, the second leaves at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

GRACE = 4.5
"""Seconds that outputs get to be finished: the process is gone within five."""


@dataclass
class Interruption:
    """Set `event` means stop; `signal` says which signal it was, None so far."""

    event: threading.Event = field(default_factory=threading.Event)
    signal: int | None = None

    @property
    def exit_code(self) -> int | None:
        """128 + the signal's number, as shells have it; None without a signal."""
        return None if self.signal is None else 128 + self.signal


@contextmanager
def leave_on_signal() -> Iterator[Interruption]:
    """Outside a run there is nothing to finish: a signal ends the process as SystemExit.

    What the signal came in the middle of may turn that into an error of its own: ask the Interruption first. Or
    it may swallow it, as finalisers do: the process ends all the same. In the middle of an import it ends at once,
    since modules in C and C++ fail or crash when an exception passes through them.
    """
    interruption = Interruption()
    timers: list[threading.Timer] = []

    def leave(number: int, frame: FrameType | None) -> None:
        if interruption.signal is not None or _is_importing(frame):
            os._exit(128 + number)
        interruption.signal = number
        interruption.event.set()
        timers.append(_leave_later(128 + number))
        raise SystemExit(128 + number)

    with _handlers(leave):
        try:
            yield interruption
        finally:
            for timer in timers:
                timer.cancel()


@contextmanager
def stop_on_signal(*, quiet: bool = False) -> Iterator[Interruption]:
    """Around a run: pass `event` to it as `stop`."""
    interruption = Interruption()
    timers: list[threading.Timer] = []

    def stop(number: int, _: FrameType | None) -> None:
        if interruption.signal is not None:
            os._exit(128 + number)
        interruption.signal = number
        interruption.event.set()
        if not quiet:  # not by sys.stderr, which the signal may have come in the middle of
            os.write(2, b"\nfinishing the outputs; a second signal leaves at once\n")
        timers.append(_leave_later(128 + number))

    with _handlers(stop):
        try:
            yield interruption
        finally:
            for timer in timers:
                timer.cancel()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


def _leave_later(code: int) -> threading.Timer:
    timer = threading.Timer(GRACE, _give_up, (code,))
    timer.daemon = True
    timer.start()
    return timer


def _give_up(code: int) -> None:
    sys.stderr.write(f"error: not finished {GRACE:g} s after the signal; what was written is kept as .part\n")
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def _handlers(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # where Python takes no handlers
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
