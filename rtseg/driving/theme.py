"""Colours of the display: by day, by night, and with as much contrast as there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rtseg.ops.palette import RGB

ThemeName: TypeAlias = Literal["day", "night", "contrast"]


@dataclass(frozen=True, slots=True)
class Theme:
    """RGB for what is shown, and opacities, 0..1.

    carpet: of the ego lane. lines: by what is known of their colour. info, warning, critical: severities, which the
    banner also tells by its words. ground, ink: of plates and what is written on them.
    """

    carpet: RGB
    white: RGB
    yellow: RGB
    unknown: RGB
    vehicle: RGB
    vulnerable: RGB
    lead: RGB
    info: RGB
    warning: RGB
    critical: RGB
    horizon: RGB
    ground: RGB
    ink: RGB
    carpet_opacity: float = 0.34
    mask_opacity: float = 0.36
    line_opacity: float = 0.92
    plate_opacity: float = 0.72


THEMES: Mapping[ThemeName, Theme] = {
    "day": Theme(
        carpet=(0, 190, 130),
        white=(255, 255, 255),
        yellow=(255, 214, 10),
        unknown=(120, 235, 255),
        vehicle=(86, 180, 233),
        vulnerable=(225, 70, 205),
        lead=(255, 190, 60),
        info=(86, 180, 233),
        warning=(255, 170, 0),
        critical=(215, 30, 40),
        horizon=(230, 240, 250),
        ground=(16, 18, 20),
        ink=(255, 255, 255),
    ),
    # Nothing brighter than the road's own lights, and more red than blue, which eyes in the dark keep.
    "night": Theme(
        carpet=(0, 110, 84),
        white=(190, 186, 176),
        yellow=(196, 154, 20),
        unknown=(110, 150, 160),
        vehicle=(150, 120, 90),
        vulnerable=(176, 64, 150),
        lead=(196, 134, 40),
        info=(120, 130, 140),
        warning=(206, 122, 0),
        critical=(190, 24, 30),
        horizon=(120, 112, 100),
        ground=(8, 8, 10),
        ink=(206, 196, 178),
        carpet_opacity=0.26,
        mask_opacity=0.26,
        plate_opacity=0.66,
    ),
    "contrast": Theme(
        carpet=(0, 114, 255),
        white=(255, 255, 255),
        yellow=(255, 255, 0),
        unknown=(0, 255, 255),
        vehicle=(255, 160, 0),
        vulnerable=(255, 0, 255),
        lead=(255, 255, 0),
        info=(255, 255, 255),
        warning=(255, 255, 0),
        critical=(255, 0, 0),
        horizon=(255, 255, 255),
        ground=(0, 0, 0),
        ink=(255, 255, 255),
        carpet_opacity=0.5,
        mask_opacity=0.5,
        line_opacity=1.0,
        plate_opacity=1.0,
    ),
}
