"""Drawn roads as videos, such as a dashcam would write them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from rtseg.driving.render import Drive, Excursion, render
from rtseg.sinks.video import VideoWriter
from rtseg.types import Output, StreamInfo

DEPARTING = Drive(seconds=7.0, rate=12.5, size=(640, 360), excursions=(Excursion(2.5, 1.4),), wander=0.0)
"""Over the right line and back."""


def drawn_road(path: Path, drive: Drive = DEPARTING) -> Path:
    """The video of a drawn drive."""
    sink = VideoWriter(path, codec="h264:preset=ultrafast", info=StreamInfo("road", rate=Fraction(drive.rate)))
    for each in render(drive, pictures=True):
        sink.write(Output(each.frame, each.regions, (), each.frame))
    sink.close()
    return path
