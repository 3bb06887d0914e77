"""Single keys from a terminal, without Enter."""

from __future__ import annotations

import contextlib
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def keyboard(pressed: Callable[[str], None]) -> Iterator[bool]:
    """While the block lasts, each key that is hit is told from a thread; false where there is no terminal."""
    try:
        import termios
        import tty

        before = termios.tcgetattr(sys.stdin.fileno())
    except (ImportError, OSError, ValueError, termios.error):
        yield False
        return
    ending = threading.Event()

    def read() -> None:
        while not ending.is_set():
            ready, _, _ = select.select([sys.stdin], [], [], 0.2)
            if ready and (key := sys.stdin.read(1)):
                pressed(key)

    thread = threading.Thread(target=read, name="rtseg-keyboard", daemon=True)
    tty.setcbreak(sys.stdin.fileno())
    try:
        thread.start()
        yield True
    finally:
        ending.set()
        thread.join(1.0)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
