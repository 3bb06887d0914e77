"""Calls of the system that cannot be interrupted, made in a thread that is left behind when they take too long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Call(Generic[T]):
    def __init__(self, function: Callable[[], T]) -> None:
        self.result: list[T] = []
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(function,), name="rtseg-call", daemon=True)
        self.thread.start()

    def _run(self, function: Callable[[], T]) -> None:
        try:
            self.result.append(function())
        except BaseException as error:
            self.error = error


_left: list[threading.Thread] = []


def within(seconds: float, function: Callable[[], T]) -> T:
    """What `function` returns or raises; TimeoutError after so many seconds, and its thread is left to itself."""
    call = _Call(function)
    call.thread.join(seconds)
    if call.thread.is_alive():
        _left.append(call.thread)
        raise TimeoutError(f"nothing happened for {seconds:g} s")
    if call.error is not None:
        raise call.error
    return call.result[0]


def left_behind() -> int:
    """How many such threads still wait."""
    _left[:] = [thread for thread in _left if thread.is_alive()]
    return len(_left)
