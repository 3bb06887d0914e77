"""Colours for names: stable from run to run and told apart by colour-blind eyes."""

from __future__ import annotations

import colorsys
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

RGB: TypeAlias = tuple[int, int, int]

# M. Okabe and K. Ito, "Color Universal Design", 2008, without black.
_OKABE_ITO: tuple[RGB, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
# The seven once more, lighter and darker, for maps of many classes.
_LIGHTNESSES = (1.0, 1.45, 0.6)

NAMED: Mapping[str, RGB] = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "grey": (128, 128, 128),
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "lime": (0, 255, 0),
    "blue": (0, 0, 255),
    "navy": (0, 0, 128),
    "teal": (0, 128, 128),
    "yellow": (255, 255, 0),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
    "pink": (255, 192, 203),
}
"""The few CSS names that people type for a background."""


def parse_rgb(text: str) -> RGB:
    """`#rrggbb`, `#rgb` or a name of `NAMED` as RGB, 0..255 each; ValueError for anything else."""
    text = text.strip().lower()
    if text in NAMED:
        return NAMED[text]
    if re.fullmatch(r"#(?:[0-9a-f]{3}){1,2}", text):
        digits = text[1:] if len(text) == 7 else "".join(2 * d for d in text[1:])
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    raise ValueError(f"{text!r} is no colour: write #rrggbb or one of {', '.join(NAMED)}")


def palette_for(names: Sequence[str], given: Mapping[str, str | RGB] | None = None) -> dict[str, RGB]:
    """A colour for each name, in order: the given one, else one that depends on the name and those before it.

    A name starts at the colour that its CRC-32 points to and takes the next that is free, so a name keeps its
    colour as long as the list does, and 21 names have 21 colours; after that they repeat.
    """
    given = given or {}
    colours: dict[str, RGB] = {}
    for name in names:
        if name in given:
            value = given[name]
            colours[name] = parse_rgb(value) if isinstance(value, str) else value
    free = [_lightened(c, by) for by in _LIGHTNESSES for c in _OKABE_ITO]
    for name in names:
        if name in colours:
            continue
        start = zlib.crc32(name.encode()) % len(_OKABE_ITO)
        taken = set(colours.values())
        group = next((g for g in _groups(free) if not taken.issuperset(g)), free[: len(_OKABE_ITO)])
        turned = group[start:] + group[:start]
        colours[name] = next((c for c in turned if c not in taken), turned[0])
    return {name: colours[name] for name in names}


def _groups(colours: list[RGB]) -> list[list[RGB]]:
    return [colours[i : i + len(_OKABE_ITO)] for i in range(0, len(colours), len(_OKABE_ITO))]


def _lightened(rgb: RGB, by: float) -> RGB:
    hue, lightness, saturation = colorsys.rgb_to_hls(*(c / 255 for c in rgb))
    r, g, b = colorsys.hls_to_rgb(hue, min(lightness * by, 0.85), saturation)
    return round(r * 255), round(g * 255), round(b * 255)
