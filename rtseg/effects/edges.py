"""What is done where the subject meets its new background: each a layer, each left out unless asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, assert_never

import cv2
import numpy as np

from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.blur import blur_covered
from rtseg.ops.colour import rgb_to_yuv
from rtseg.ops.foreground import foreground
from rtseg.ops.resize import enlarge
from rtseg.ops.soften import feather, soften
from rtseg.types import Blur, Clear, Frame, Keep, Layer, Paint, Picture, Solid, Tints

_Planes: TypeAlias = tuple[U8, U8, U8]

_SHADOW_AT = (1.5, 2.0)
"""Where the shadow falls, in percent of the frame's height: to the right and down."""
_SHADOW_SIGMA = 2.0
_BLACK = Solid((0, 0, 0))
_EVERYWHERE = np.full((1, 1), 255, np.uint8)


@dataclass(frozen=True, slots=True)
class Edges:
    """How the subject is set before its background; widths in percent of the frame's height.

    decontaminate: pixels of the edge lose what they have of the old background. feather: how far the edge runs out,
    outward, or inward where negative. light_wrap: 0..1, how much of the new background's light falls on the subject's
    rim, of light_wrap_width; shadow: 0..1, how dark a soft shadow is that the subject throws on its background.
    Raises ConfigError for values beyond that.
    """

    decontaminate: bool = False
    feather: float = 0.0
    light_wrap: float = 0.0
    light_wrap_width: float = 3.0
    shadow: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("feather", -10.0, 10.0),
            ("light_wrap", 0.0, 1.0),
            ("light_wrap_width", 0.5, 20.0),
            ("shadow", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} = {value!r} must be a number from {low:g} to {high:g}")

    def suit(self, paint: Paint | Callable[[Frame], Paint]) -> None:
        """ConfigError for a background that cannot have what is asked for."""
        if isinstance(paint, Clear) and (self.light_wrap or self.shadow):
            raise ConfigError("a transparent background has neither light nor shadow: leave light_wrap and shadow out")
        if isinstance(paint, Blur) and self.light_wrap:
            raise ConfigError("light_wrap is for another background: a blurred room's light is on the subject already")


class Edging:
    """Makes the layers of `Edges`; keeps the light of a background that stays. Belongs to one stream."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._lit: tuple[Frame, _Planes] | None = None

    def matte(self, background: U8) -> U8:
        """The background's alpha, uint8 hxw, with the subject's edge as soft as it is to be."""
        return feather(background, -self._edges.feather / 100 * background.shape[0])

    def below(self, frame: Frame, found: U8, background: U8) -> list[Layer]:
        """Layers for under the background; found: its alpha before `matte`, which knows what pixels are made of."""
        if not self._edges.decontaminate:
            return []
        half = (frame.size.width // 2, frame.size.height // 2)
        even = frame.size == (2 * half[0], 2 * half[1])
        luma = frame.luma(half) if even else frame.planes[0]  # networks and filters had it made
        subject = as_u8(cv2.bitwise_not(found))
        shown = subject if found is background else as_u8(cv2.bitwise_not(background))
        paint, alpha = foreground((luma, *frame.planes[1:]), subject, shown)
        return [Layer(alpha, Tints(paint))]

    def above(self, frame: Frame, background: U8, paint: Paint) -> list[Layer]:
        """Layers for over it. A shadow lies on the subject's edge only as much as background does."""
        layers = []
        if self._edges.shadow:
            layers.append(Layer(self._shadow(background), _BLACK))
        if self._edges.light_wrap and (light := self._light(frame, paint)) is not None:
            over = paint if isinstance(paint, Solid) else Tints(light)
            layers.append(Layer(self._rim(background, light[0], frame), over))
        return layers

    def _shadow(self, background: U8) -> U8:
        height, width = background.shape
        right, down = (round(at / 100 * height) for at in _SHADOW_AT)
        moved = background[: max(1, height - down), : max(1, width - right)]
        moved = as_u8(cv2.copyMakeBorder(moved, down, 0, right, 0, cv2.BORDER_REPLICATE))[:height, :width]
        fallen = cv2.bitwise_not(soften(moved, _SHADOW_SIGMA / 100 * height))
        return as_u8(cv2.multiply(fallen, background, scale=self._edges.shadow / 255))

    def _rim(self, background: U8, light: U8, frame: Frame) -> U8:
        """How much light falls where: most at the edge, none inside, and as much as there is behind."""
        height, width = background.shape
        near = soften(background, self._edges.light_wrap_width / 200 * height)  # a half at the edge
        rim = cv2.multiply(near, cv2.bitwise_not(background), scale=1 / 255)
        black, white = (0.0, 255.0) if frame.colour.full_range else (16.0, 235.0)
        gain = self._edges.light_wrap / (white - black)
        bright = cv2.convertScaleAbs(cv2.subtract(light, np.full(1, black)), alpha=255.0 * gain)
        return as_u8(cv2.multiply(rim, enlarge(as_u8(bright), (width, height)), scale=1 / 255))

    def _light(self, frame: Frame, paint: Paint) -> _Planes | None:
        """What comes from behind: the background, blurred as widely as its light spreads; small."""
        match paint:
            case Solid():
                y, u, v = (np.full((1, 1), level, np.uint8) for level in rgb_to_yuv(paint.rgb, frame.colour))
                return y, u, v
            case Picture():
                if self._lit is None or self._lit[0] is not paint.frame:
                    sigma = self._edges.light_wrap_width / 100 * frame.size.height
                    self._lit = (paint.frame, blur_covered(paint.frame.planes, _EVERYWHERE, sigma))
                return self._lit[1]
            case Blur() | Clear() | Keep() | Tints():
                return None
            case _:
                assert_never(paint)
