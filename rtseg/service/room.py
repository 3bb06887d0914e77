"""Whether a machine has room for one camera more, by the CPU that those here were seen to take."""

from __future__ import annotations

import time

_SHORTEST = 2.0
"""Seconds that a measure takes at least."""
_FULL = 0.95


class Room:
    """Compares the process's CPU time with the cores there are, each time that somebody asks to come in.

    What one camera takes is not known beforehand: it depends on its size, its model and on the browser's codec. So it
    is measured from the cameras that are here, all of the process counted as theirs.
    """

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._since: tuple[float, float, int] | None = None
        self._load = 0.0

    def full(self, now: float, cameras: int, *, cpu: float | None = None) -> bool:
        """Whether one more than `cameras` would be too much. cpu: seconds of this process, read where not given."""
        cpu = time.process_time() if cpu is None else cpu
        if cameras == 0:
            self._since, self._load = (now, cpu, 0), 0.0
            return False
        if self._since is None or self._since[2] != cameras:
            self._since = (now, cpu, cameras)  # measured anew with another number, the last load a camera standing
        elif now - self._since[0] >= _SHORTEST:
            self._load = (cpu - self._since[1]) / (now - self._since[0]) / cameras
            self._since = (now, cpu, cameras)
        return self._load * (cameras + 1) > _FULL * self._cores
