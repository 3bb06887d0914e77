"""What can be chosen of a drive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DriveOptions:
    """What can be chosen of a drive.

    calibration: a file, or height: of the camera, metres, and fov: across the picture, degrees; detector: a model for
    boxes; for the analyzers that take them. every: so many frames are seen as the network saw the first of them, and
    lanes and obstacles are followed through the others. gps: a log, "auto" for the one beside the file, "none" for
    none. gps_offset: as in `rtseg.driving.sidecars.Gps`; None for what the video's time of recording says, else 0.
    analyzers: None for those of `rtseg.archive.analysis.ANALYZERS` that the model has something for. overlay: None for
    the HUD, or for "road" where there is none. lead, tail: seconds before and after an event in its clip. report: write
    `report.html`. live: as if it came from a camera. to: addresses of live outputs, as of `rtseg stream`. kafka:
    HOST:PORT of a broker. stream: what rows and messages call the input, usually the file's name.
    """

    model: str = "road"
    calibration: Path | None = None
    height: float | None = None
    fov: float | None = None
    detector: str | None = None
    every: int = 2
    gps: str = "auto"
    gps_offset: float | None = None
    analyzers: tuple[str, ...] | None = None
    overlay: str | None = None
    codec: str | None = None
    providers: tuple[str, ...] | None = None
    threads: int | None = None
    parquet: bool = False
    clips: bool = True
    lead: float = 3.0
    tail: float = 3.0
    report: bool = True
    live: bool = False
    to: tuple[str, ...] = ()
    kafka: str | None = None
    topic: str = "rtseg"
    stream: str | None = None
