"""How the files of a folder are called: by the stems that were given, or by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rtseg.errors import ConfigError


class Stems:
    """The stem of each frame's file: `names` in order of `Frame.index`, six digits where there is none.

    Raises ConfigError for a name that would leave the folder, and for one that is given twice.
    """

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self._names = tuple(names or ())
        for name in self._names:
            if name in ("", ".", "..") or "\0" in name or "\\" in name or Path(name).name != name:
                raise ConfigError(f"{name!r} cannot name a file in the folder: give a stem without slashes")
        name, times = next(iter(Counter(self._names).most_common(1)), ("", 0))
        if times > 1:
            raise ConfigError(f"{times} files would be called {name!r}: give every image a name of its own")

    def __getitem__(self, index: int) -> str:
        return self._names[index] if 0 <= index < len(self._names) else f"{index:06d}"
