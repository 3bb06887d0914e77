"""How the camera looks at the road: told by a file, or found while driving, and how well it is known.

What is not given is estimated: pitch and yaw begin with the point where the lane lines meet and are refined by what
the lines tell in each frame and by the point that the camera travels to; the height follows from the lanes' width. Each
is a Kalman filter of one number in information form, whose information fades a little with time, since loads shift.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rtseg.driving.ground import lens
from rtseg.driving.state import View
from rtseg.errors import ConfigError

FOV = math.radians(60)
"""Of a dashcam of which nothing is known."""
HEIGHT = 1.3
LANE_WIDTH, _LANE_SIGMA = 3.6, 0.1
"""Metres between the middles of a lane's lines on larger roads, 3.5 to 3.7; narrower town lanes are not covered."""

_TALL = (0.8, 2.4)
_ODD = 0.6  # seconds

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Degrees = Annotated[float, Field(ge=-45, le=45, allow_inf_nan=False)]

_TURN = 0.015
"""Radians that the view turns by at once: 0.15 m at 10 m, so that lanes do not jump where it was wrong."""


class Camera(BaseModel):
    """What a calibration file says, or options do; angles in degrees, metres, pixels. None: to be found out.

    fov: across the picture; or focal, in pixels of a picture `size`, width and height. centre: of the lens there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: tuple[_Positive, _Positive] | None = None
    fov: Annotated[float, Field(gt=5, lt=170)] | None = None
    focal: _Positive | None = None
    centre: tuple[float, float] | None = None
    height: Annotated[float, Field(gt=0.2, lt=6)] | None = None
    pitch: _Degrees | None = None
    yaw: _Degrees | None = None
    roll: _Degrees | None = None

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """From a TOML or JSON file. Raises ConfigError."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
            camera = cls.model_validate(values)
        except OSError as error:
            raise ConfigError(f"calibration {str(path)!r} cannot be read: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ConfigError(f"calibration {path.name}: {where}: {first['msg']}") from None
        except ValueError as error:
            raise ConfigError(f"calibration {path.name} is neither TOML nor JSON: {error}") from None
        if camera.size is None and (camera.focal, camera.centre) != (None, None):
            raise ConfigError(f"calibration {path.name}: focal and centre need size, the picture that they are of")
        return camera

    def over(self, values: Mapping[str, float]) -> Self:
        """The same with other values, such as options. Raises ConfigError."""
        known = self.model_dump()
        if "fov" in values:
            known["focal"] = None
        try:
            return type(self).model_validate({**known, **values})
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"camera: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


class Estimate:
    """One number that is measured again and again. seconds: how long errors of measurements stay alike, so that a
    hundred frames of them are no hundred measurements. drift: what it may change by itself, a root of a second."""

    def __init__(self, value: float, sigma: float | None, *, seconds: float = 0.5, drift: float = 0.0) -> None:
        self.value = value
        self.fixed = sigma is None
        self._information = math.inf if sigma is None else 1 / sigma**2
        self._seconds, self._drift = seconds, drift

    @property
    def sigma(self) -> float | None:
        """Standard deviation; None where the number was given."""
        return None if self.fixed else self._information**-0.5

    def learn(self, value: float, sigma: float, elapsed: float, *, most: float = math.inf) -> float:
        """Take a measurement into account, `elapsed` seconds after the last one: what the value changed by.

        most: what it may change by; what it did not is known as little as before, and the next ones go on.
        """
        if self.fixed:
            return 0.0
        self._information = 1 / (1 / self._information + self._drift**2 * elapsed)
        added = min(1.0, elapsed / self._seconds) / sigma**2
        self._information += added
        change = (value - self.value) * added / self._information
        if abs(change) > most:
            change, self._information = math.copysign(most, change), self._information - added
        self.value += change
        return change


class Correction(NamedTuple):
    """What a frame changed in the view: radians, and the factor of the height."""

    pitch: float = 0.0
    yaw: float = 0.0
    scale: float = 1.0


class Calibration:
    """The view of one camera over time; `reset` at a cut begins anew with what was given."""

    def __init__(self, camera: Camera | None = None, *, file: bool = False) -> None:
        self._camera = camera or Camera()
        known = self._camera.height is not None and (self._camera.fov or self._camera.focal) is not None
        self._source: Literal["file", "lens", "estimated"] = "file" if file else "lens" if known else "estimated"
        self.reset()

    def reset(self) -> None:
        """Another picture: what was estimated is forgotten."""
        given = self._camera
        self.started = False
        self.pitch = Estimate(*_angle(given.pitch, 0.05), seconds=0.4, drift=5e-4)
        self.yaw = Estimate(*_angle(given.yaw, 0.05), seconds=2.0, drift=2e-4)
        tall = None if given.height is not None else 0.25
        self.height = Estimate(math.log(given.height or HEIGHT), tall, seconds=3.0, drift=1e-3)
        self.sized = self.height.fixed
        self._odd = 0.0

    def view(self, size: tuple[int, int], *, shake: float = 0.0, shake_sigma: float = 0.0) -> View:
        """As of now, for a frame of `size`; shake: pitch of the moment beside the mount's, radians."""
        given = self._camera
        across = 1.0 if given.size is None else size[0] / given.size[0]
        focal = given.focal * across if given.focal else lens(size, fov=math.radians(given.fov) if given.fov else FOV)
        centre = (size[0] / 2, size[1] / 2)
        if given.centre is not None:
            centre = given.centre[0] * across, given.centre[1] * across
        pitch_sigma = math.hypot(self.pitch.sigma or 0.0, shake_sigma) or None
        return View(
            focal,
            centre,
            self.pitch.value + shake,
            self.yaw.value,
            math.radians(given.roll or 0.0),
            math.exp(self.height.value),
            pitch_sigma,
            self.yaw.sigma,
            self._source,
            self._confidence(pitch_sigma),
        )

    def height_sigma(self) -> float:
        """Of the height, as a share of it; the lanes' true width is not known better than within a few percent."""
        sigma = self.height.sigma
        return 0.0 if sigma is None else math.hypot(sigma, _LANE_SIGMA / LANE_WIDTH)

    def begin(self, view: View, meeting: tuple[float, float, float]) -> bool:
        """Aim at the point where lines meet: u, v and sigma in pixels of the frame. Whether the view changed."""
        u, v, sigma = meeting
        pitch = math.atan((view.centre[1] - v) / view.focal)
        yaw = math.atan((view.centre[0] - u) / view.focal)
        if abs(pitch) > 0.35 or abs(yaw) > 0.35:
            return False
        known = math.hypot(sigma / view.focal, 0.01)
        if not self.pitch.fixed:
            self.pitch = Estimate(pitch, known, seconds=0.4, drift=5e-4)
        if not self.yaw.fixed:
            self.yaw = Estimate(yaw, math.hypot(known, 0.02), seconds=2.0, drift=2e-4)
        self.started = True
        return True

    def size_up(self, width: float) -> float | None:
        """The first lane was seen `width` metres wide: the factor of the height, None where nothing follows.

        Nothing follows where the height was given, and from a width that would put the camera where no vehicle has one:
        two lanes that look like one, since the line between them was not seen yet, or a hard shoulder.
        """
        if self.height.fixed or not _TALL[0] < math.exp(self.height.value) * LANE_WIDTH / width < _TALL[1]:
            return None
        change = math.log(LANE_WIDTH / width)
        self.height = Estimate(self.height.value + change, 0.08, seconds=3.0, drift=1e-3)
        self.sized = True
        return math.exp(change)

    def refine(
        self,
        *,
        elapsed: float,
        pitch: tuple[float, float] | None = None,
        yaw: tuple[float, float] | None = None,
        width: tuple[float, float] | None = None,
    ) -> Correction:
        """What a frame says: how much lower and more to the right the camera seems to look than was thought, and the
        lane's width, each with its standard deviation."""
        by_pitch = by_yaw = 0.0
        scale = 1.0
        if pitch is not None:
            by_pitch = self.pitch.learn(self.pitch.value + pitch[0], pitch[1], elapsed)
        if yaw is not None:
            by_yaw = self.yaw.learn(self.yaw.value + yaw[0], yaw[1], elapsed)
        odd = width is not None and not 2.5 < width[0] < 5.0
        self._odd = self._odd + elapsed if odd else 0.0
        if self._odd > _ODD and not self.height.fixed:  # what was taken for a lane was none
            self.sized, self._odd = False, 0.0
        if width is not None and self.sized and not odd:
            seems = self.height.value + math.log(LANE_WIDTH / width[0])
            scale = math.exp(self.height.learn(seems, math.hypot(width[1] / width[0], 0.05), elapsed))
        return Correction(by_pitch, by_yaw, scale)

    def travelled(self, view: View, focus: tuple[float, float, float, float], elapsed: float) -> Correction:
        """The camera moved towards a pixel of the frame: u, v and their sigmas. That is where the vehicle's axis points
        and the horizon lies, but for sideways drift and the bumps of the moment."""
        u, v, u_sigma, v_sigma = focus
        yaw = math.atan((view.centre[0] - u) / view.focal)
        pitch = math.atan((view.centre[1] - v) / view.focal)
        if max(abs(yaw), abs(pitch)) > 0.35:
            return Correction()
        by_yaw = self.yaw.learn(yaw, math.hypot(u_sigma / view.focal, 0.01), elapsed, most=_TURN)
        by_pitch = self.pitch.learn(pitch, math.hypot(v_sigma / view.focal, 0.012), elapsed, most=_TURN)
        return Correction(by_pitch, by_yaw)

    def _confidence(self, pitch_sigma: float | None) -> float:
        """1 where all is known; a half where the pitch is known to a quarter of a degree or height to a fifth."""
        pitch, height = (pitch_sigma or 0.0) / math.radians(0.25), self.height_sigma() / 0.2
        started = 1.0 if self.started or self.pitch.fixed else 0.2
        return started / (1 + pitch**2 + height**2)


def _angle(degrees: float | None, unknown: float) -> tuple[float, float | None]:
    return (0.0, unknown) if degrees is None else (math.radians(degrees), None)
