"""Words of the display: what happens, loudest first, and time, speed and place in the lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from rtseg.driving.ink import ink_on, plate, plate_box, text_rows, words
from rtseg.driving.state import Event, EventKind, Scene, Severity
from rtseg.driving.theme import Theme
from rtseg.ops.arrays import U8, as_u8
from rtseg.types import Box, Frame, Layer, Size

TITLES: Mapping[EventKind, str] = {
    "lane_departure": "Lane departure",
    "lane_change": "Lane change",
    "forward_collision": "Collision ahead",
    "close_following": "Too close",
    "cut_in": "Cut in",
    "pedestrian_in_path": "Pedestrian ahead",
}
_RANK: Mapping[Severity, int] = {"critical": 0, "warning": 1, "info": 2}


def loudest(events: Sequence[Event]) -> Event | None:
    """The most severe of those that go on, the newest first."""
    going = [event for event in events if event.phase != "end"]
    return min(going, key=lambda event: (_RANK[event.severity], -event.start), default=None)


def banner_layers(events: Sequence[Event], size: Size, theme: Theme) -> list[Layer]:
    """One plate in the middle above, with a sign before the words that no colour is needed for; none if all is calm."""
    event = loudest(events)
    if event is None:
        return []
    rows = text_rows(size, 0.042)
    said = TITLES.get(event.kind, event.kind.replace("_", " "))
    side, ttc = event.values.get("side"), event.values.get("ttc")
    if side in ("left", "right"):
        said += f", {side}"
    if isinstance(ttc, int | float):
        said += f" {ttc:.1f} s"
    letters = _with_sign(words(said, rows), event.severity)
    rgb = {"info": theme.info, "warning": theme.warning, "critical": theme.critical}[event.severity]
    (_, _, width, _), _ = plate_box(letters, (0, 0))
    if width > size.width:
        return []
    at = ((size.width - width) // 4 * 2, 2 * round(0.02 * size.height))
    return list(plate(letters, at, ground=rgb, ink=ink_on(rgb), opacity=max(0.9, theme.plate_opacity)))


def status_layers(
    frame: Frame,
    scene: Scene,
    theme: Theme,
    *,
    clock: bool,
    speed: float | None,
    offset: bool,
    pace: float | None = None,
) -> list[Layer]:
    """A plate left and below: the frame's time, the speed in m/s where it is known, the offset in the lane, and the
    milliseconds a frame takes."""  # fmt: skip
    size = frame.size
    said = []
    if clock:
        minutes, seconds = divmod(max(0.0, frame.time), 60)
        said.append(f"{int(minutes):02d}:{seconds - 0.05 if seconds > 59.95 else seconds:04.1f}")
    if speed is not None:
        said.append(f"{3.6 * speed:.0f} km/h")
    if offset and scene.lanes.offset is not None:
        said.append(f"{scene.lanes.offset.value:+.2f} m")
    if pace is not None:
        said.append(f"{pace:.0f} ms")
    if not said:
        return []
    letters = words("    ".join(said), text_rows(size, 0.03))
    (_, _, width, height), _ = plate_box(letters, (0, 0))
    margin = 2 * round(0.0125 * size.height)
    if width + margin > size.width or height + margin > size.height:
        return []
    at = (margin, (size.height - margin - height) // 2 * 2)
    return list(plate(letters, at, ground=theme.ground, ink=theme.ink, opacity=theme.plate_opacity))


def boxes_of(layers: Sequence[Layer]) -> list[Box]:
    """Where layers stand, for others that stay away from them."""
    return [layer.box for layer in layers if layer.box is not None]


def _with_sign(letters: U8, severity: Severity) -> U8:
    """A triangle before a warning, one with a mark in it before what is critical, a dot before what is to be known."""
    rows = letters.shape[0]
    sign = np.zeros((4 * rows, 4 * rows), np.uint8)
    if severity == "info":
        cv2.circle(sign, (2 * rows, 2 * rows), round(0.9 * rows), 255, cv2.FILLED, cv2.LINE_AA)
    else:
        corners = np.array([[2 * rows, 0.35 * rows], [3.8 * rows, 3.5 * rows], [0.2 * rows, 3.5 * rows]])
        cv2.fillPoly(sign, [corners.astype(np.int32)], 255, cv2.LINE_AA)
        if severity == "critical":
            cv2.line(sign, (2 * rows, round(1.4 * rows)), (2 * rows, round(2.4 * rows)), 0, round(0.4 * rows))
            cv2.circle(sign, (2 * rows, 3 * rows), round(0.22 * rows), 0, cv2.FILLED)
    small = as_u8(cv2.resize(sign, (rows, rows), interpolation=cv2.INTER_AREA))
    gap = np.zeros((rows, round(0.45 * rows)), np.uint8)
    return as_u8(np.hstack([small, gap, letters]))
