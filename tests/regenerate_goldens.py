"""Drawn scenes with effects on them, and the one way in which their goldens are made.

Run `python tests/regenerate_goldens.py` after a change that is meant to look different, look at each picture under
tests/goldens, and commit them with the change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import drive_scenes
import numpy as np
from numpy.typing import NDArray

from rtseg.compositor import Compositor
from rtseg.driving.hud import Hud
from rtseg.driving.theme import ThemeName
from rtseg.effects.background import Background
from rtseg.effects.outline import Outline
from rtseg.effects.overlay import Overlay
from rtseg.ops.arrays import U8, as_u8
from rtseg.types import Blur, Clear, Colour, Effect, Frame, Picture, Regions, Segmentation, Semantic, Size, Solid

GOLDENS = Path(__file__).parent / "goldens"
SIZE = Size(320, 180)
MASK = Size(128, 72)
LIMITED = Colour("bt709")

F64 = NDArray[np.float64]


def grid(size: Size) -> tuple[F64, F64]:
    """x and y of each pixel's centre, in heights of the picture, so that a scene has no resolution of its own."""
    y, x = np.mgrid[: size.height, : size.width] + 0.5
    return x / size.height, y / size.height


def ellipse(size: Size, at: tuple[float, float], radii: tuple[float, float], *, soft: float = 0.008) -> F64:
    """Coverage 0..1 of an ellipse with an edge `soft` heights wide."""
    x, y = grid(size)
    distance = (1.0 - np.hypot((x - at[0]) / radii[0], (y - at[1]) / radii[1])) * min(radii)
    return np.clip(0.5 + distance / soft, 0.0, 1.0)


def paint(picture: F64, cover: F64, rgb: tuple[int, int, int]) -> None:
    picture += (np.array(rgb, float) - picture) * cover[..., None]


def person(size: Size, *, soft: float = 0.008) -> dict[str, F64]:
    head = ellipse(size, (0.82, 0.36), (0.15, 0.2), soft=soft)
    hair = ellipse(size, (0.82, 0.3), (0.19, 0.21), soft=soft)
    body = ellipse(size, (0.82, 1.02), (0.44, 0.5), soft=soft)
    return {"body": body, "hair": hair, "head": head}


def room() -> Frame:
    """A light person before a dark wall with a bright window: what leaks from one into the other is seen."""
    x, y = grid(SIZE)
    picture = np.stack([60 + 30 * y, 52 + 24 * y, 60 + 10 * x], axis=-1)
    window = ((np.abs(x - 1.45) < 0.2) & (np.abs(y - 0.34) < 0.24)).astype(float)
    bars = ((np.abs(x - 1.45) < 0.012) | (np.abs(y - 0.34) < 0.012)).astype(float)
    shelf = ((np.abs(y - 0.5) < 0.02) & (x < 0.5)).astype(float)
    books = ((np.abs(y - 0.38) < 0.1) & (x > 0.08) & (x < 0.42)).astype(float)
    paint(picture, window, (205, 228, 250))
    paint(picture, window * bars, (90, 70, 50))
    paint(picture, shelf, (120, 84, 50))
    for i, rgb in enumerate([(150, 40, 40), (40, 110, 70), (190, 160, 60), (60, 70, 140), (170, 90, 40)]):
        paint(picture, books * ((x - 0.08) // 0.068 == i), rgb)
    parts = person(SIZE)
    paint(picture, parts["body"], (236, 236, 228))
    paint(picture, parts["hair"], (214, 190, 130))
    paint(picture, parts["head"], (240, 200, 172))
    return frame_of(picture)


def matte() -> Segmentation:
    union = np.maximum.reduce(list(person(MASK, soft=0.03).values()))
    return Regions(as_u8(np.rint(255 * union).astype(np.uint8))[None], ("person",), 0, SIZE)


def street() -> Frame:
    """A road with two lines, a car on it, someone at its side, houses and sky."""
    _, y = grid(SIZE)
    picture = np.stack([150 + 60 * y, 180 + 30 * y, 215 - 20 * y], axis=-1)
    classes = street_classes(SIZE)
    for name, rgb in [
        *(("building", (130, 112, 100)), ("road", (82, 82, 86)), ("lane", (230, 230, 225))),
        *(("car", (150, 30, 36)), ("person", (40, 60, 110))),
    ]:
        paint(picture, classes[name].astype(float), rgb)
    return frame_of(picture)


def street_classes(size: Size) -> dict[str, NDArray[np.bool_]]:
    x, y = grid(size)
    depth = np.clip((y - 0.48) / 0.52, 0.0, 1.0)
    road = (y > 0.48) & (np.abs(x - 0.9) < 0.06 + 0.95 * depth)
    lane = road & ((np.abs(np.abs(x - 0.9) - 0.55 * depth) < 0.008 + 0.025 * depth) & (y > 0.5))
    car = ((np.abs(x - 1.16) < 0.17) & (np.abs(y - 0.66) < 0.1)) | (ellipse(size, (1.16, 0.56), (0.13, 0.09)) > 0.5)
    walker = (ellipse(size, (1.62, 0.5), (0.035, 0.045)) > 0.5) | (ellipse(size, (1.62, 0.66), (0.06, 0.14)) > 0.5)
    building = (y < 0.6) & (y > 0.16 + 0.1 * (x // 0.34 % 2)) & ((x < 0.6) | (x > 1.2))
    return {"building": building & ~road, "road": road, "lane": lane & ~car, "car": car, "person": walker}


def driving() -> Segmentation:
    classes = street_classes(MASK)
    masks = [classes["road"] & ~classes["car"], classes["lane"], classes["car"], classes["person"]]
    stacked = np.stack([np.where(mask, np.uint8(250), np.uint8(4)) for mask in masks])
    return Regions(as_u8(stacked), ("drivable", "lane", "vehicle", "vulnerable"), 0, SIZE)


def scene_classes() -> Segmentation:
    names = ("sky", "building", "road", "car", "person")
    labels = np.zeros((MASK.height, MASK.width), np.uint8)
    for index, name in enumerate(names[1:], start=1):
        labels[street_classes(MASK)[name]] = index
    return Semantic(labels, names, 0, SIZE)


def hills() -> Frame:
    """A picture of another size, subsampling and colour than the frames."""
    x, y = grid(Size(400, 400))
    picture = np.stack([110 + 100 * y, 170 + 40 * y, 235 - 30 * y], axis=-1)
    paint(picture, ellipse(Size(400, 400), (0.68, 0.3), (0.09, 0.09)), (255, 240, 170))
    for height, rgb in ((0.62, (90, 130, 110)), (0.78, (60, 104, 70))):
        paint(picture, (y > height + 0.06 * np.sin(9 * x + 20 * height)).astype(float), rgb)
    return frame_of(picture, Colour("bt601", full_range=True))


def frame_of(picture: F64, colour: Colour = LIMITED) -> Frame:
    return Frame.from_rgb(as_u8(np.rint(picture).astype(np.uint8)), colour=colour)


def composed(frame: Frame, result: Segmentation, *effects: Effect) -> Frame:
    layers = [layer for effect in effects for layer in effect(frame, result, ())]
    return Compositor()(frame, layers)


def drive(theme: ThemeName, *, calm: bool = False) -> Frame:
    """A made-up drive with all that the display shows."""
    size = Size(480, 270)
    scene = drive_scenes.scene(size, calm=calm)
    frame, masks = drive_scenes.picture(size, scene), drive_scenes.regions(size, scene)
    return Compositor()(frame, Hud(theme=theme)(frame, masks, drive_scenes.observations(scene)))


EDGE: dict[str, Any] = {"decontaminate": True, "feather": 0.5, "light_wrap": 0.5, "shadow": 0.5}
SCENES: Mapping[str, Callable[[], Frame]] = {
    "blur": lambda: composed(room(), matte(), Background(Blur())),
    "bokeh": lambda: composed(room(), matte(), Background(Blur(lens="disc"))),
    "picture": lambda: composed(room(), matte(), Background(Picture(hills()))),
    "edge": lambda: composed(room(), matte(), Background(Picture(hills()), **EDGE)),
    "colour": lambda: composed(room(), matte(), Background(Solid((0, 177, 64)))),
    "transparent": lambda: composed(room(), matte(), Background(Clear())),
    "outline": lambda: composed(room(), matte(), Outline(rgb=(255, 210, 60), width=1.5)),
    "road": lambda: composed(street(), driving(), Overlay.road()),
    "classes": lambda: composed(street(), scene_classes(), Overlay(), Outline(names=["person"])),
    "drive": lambda: drive("day"),
    "night": lambda: drive("night", calm=True),
}


def rendered(name: str) -> U8:
    """A scene as RGB uint8 180x320x3, RGBA where it has an alpha."""
    frame = SCENES[name]()
    return frame.rgb if frame.alpha is None else np.dstack([frame.rgb, frame.alpha])


def stored(name: str) -> U8 | None:
    """The golden in the same form; None where there is none."""
    bgr = cv2.imread(str(GOLDENS / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    if bgr is None:
        return None
    return as_u8(cv2.cvtColor(bgr, cv2.COLOR_BGRA2RGBA if bgr.shape[2] == 4 else cv2.COLOR_BGR2RGB))


def main() -> None:
    GOLDENS.mkdir(exist_ok=True)
    for name in SCENES:
        rgb = rendered(name)
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGBA2BGRA if rgb.shape[2] == 4 else cv2.COLOR_RGB2BGR)
        path = GOLDENS / f"{name}.png"
        cv2.imwrite(str(path), bgr, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
