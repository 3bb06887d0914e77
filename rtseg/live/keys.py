"""What a key does to a scene, whichever window or terminal it was pressed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtseg.live.scene import Scene

HELP: Mapping[str, str] = {
    "space": "slate: nobody is shown",
    "f": "freeze",
    "m": "mirror",
    "b": "another background",
    "+ -": "more or less blur",
    "q": "quit",
}
_GREEN = "#00b140"
_WEAKEST, _STRONGEST, _USUAL, _STEP = 0.5, 10.0, 2.5, 1.25


def pressed(key: str, scene: Scene, *, first: str | None = None) -> dict[str, Any] | None:
    """What to change for a key; {} for a key that does nothing, None to quit.

    first: the background that the stream began with, one of those that "b" goes through. None of them is no background:
    a key that is hit by accident does not show the room.
    """
    match key:
        case "q":
            return None
        case " ":
            return {"slate": not scene.slate}
        case "f":
            return {"frozen": not scene.frozen}
        case "m":
            return {"mirror": not scene.mirror}
        case "b":
            kept = list(dict.fromkeys((*((first,) if first else ()), "blur", _GREEN)))
            now = "blur" if (scene.background or "").startswith("blur") and "blur" in kept else scene.background
            return {"background": kept[(kept.index(now) + 1) % len(kept) if now in kept else 0]}
        case "+" | "=":
            return {"background": f"{_blur(scene)}:{min(_strength(scene) * _STEP, _STRONGEST):.2g}"}
        case "-":
            return {"background": f"{_blur(scene)}:{max(_strength(scene) / _STEP, _WEAKEST):.2g}"}
        case _:
            return {}


def _blur(scene: Scene) -> str:
    """The kind of blur that there is, the usual one where there is none."""
    kind = (scene.background or "").partition(":")[0]
    return kind if kind in ("bokeh", "bokeh-depth") else "blur"


def _strength(scene: Scene) -> float:
    kind, _, strength = (scene.background or "").partition(":")
    return float(strength) if kind == _blur(scene) and strength else _USUAL
