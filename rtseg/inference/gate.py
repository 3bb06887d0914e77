"""Who may touch a device while a CUDA graph is captured: nobody."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["GATE", "Gate"]


class Gate:
    """Lets a capture run alone in the process, and everything else that touches a device at the same time.

    CUDA captures in global mode: an allocation or a synchronous copy in another thread meanwhile ends the capture
    and fails itself (error 900).
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working = 0
        self._capturing = False

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Together with others, never during a capture."""
        with self._changed:
            self._changed.wait_for(lambda: not self._capturing)
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def capturing(self) -> Iterator[None]:
        """Alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._capturing)
            self._capturing = True  # whoever comes now waits; who is at work ends
            self._changed.wait_for(lambda: not self._working)
        try:
            yield
        finally:
            with self._changed:
                self._capturing = False
                self._changed.notify_all()


GATE = Gate()
"""Of all sessions of this process."""
