"""Memory given back to the system once there is nothing to do."""

from __future__ import annotations

import ctypes
import gc
import sys

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def give_back() -> None:
    """Collect what is left in cycles, by aiortc a megabyte a connection, and let glibc return what it keeps of freed
    pictures: hundreds of MB after a large one."""  # fmt: skip
    gc.collect()
    if _trim is not None:
        _trim(0)
