"""Makes the pictures of the README from public-domain photographs that scikit-image ships.

The photographs are NASA's "astronaut" and SpaceX's "rocket" (public domain) and MIT's "camera" (CC0); each is shown
before and after rtseg, as a JPEG in docs/images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from rtseg.effects.background import Background
from rtseg.effects.outline import Outline
from rtseg.filters.refine import EdgeRefine
from rtseg.filters.smooth import TemporalSmooth
from rtseg.inference.engine import OrtEngine
from rtseg.pipeline import Pipeline
from rtseg.segmenters.regions import RegionSegmenter
from rtseg.store import find_card, verify
from rtseg.types import Blur, Effect, Frame, Picture, Solid

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
SIZE = (480, 360)
Rgb = NDArray[np.uint8]


def window(photograph: NDArray[Any], left: int, top: int, width: int) -> Rgb:
    """A 4:3 part of a photograph, RGB, at SIZE."""
    rgb = photograph if photograph.ndim == 3 else np.repeat(photograph[..., None], 3, axis=2)
    part = rgb[top : top + width * SIZE[1] // SIZE[0], left : left + width]
    return np.asarray(
        cv2.resize(part, SIZE, interpolation=cv2.INTER_AREA if width > SIZE[0] else cv2.INTER_CUBIC), np.uint8
    )


def after(picture: Rgb, *effects: Effect) -> Rgb:
    """The picture as rtseg gives it back."""
    card = find_card("portrait")
    segmenter = RegionSegmenter(card, OrtEngine(verify(card)))
    pipeline = Pipeline(segmenter, filters=[TemporalSmooth(), EdgeRefine()], effects=effects)
    return pipeline(Frame.from_rgb(picture)).picture.rgb


def main() -> None:
    """Write them."""
    astronaut = window(skimage.data.astronaut(), 0, 0, 460)
    rocket = Frame.from_rgb(window(skimage.data.rocket(), 0, 60, 480))
    camera = window(skimage.data.camera(), 60, 40, 400)
    pairs = {
        "blur": (astronaut, after(astronaut, Background(Blur(4.0)))),
        "picture": (astronaut, after(astronaut, Background(Picture(rocket)))),
        "outline": (camera, after(camera, Background(Solid((32, 64, 96))), Outline(rgb=(255, 210, 60)))),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    gap = np.full((SIZE[1], 6, 3), 255, np.uint8)
    for name, (before, result) in pairs.items():
        pair = np.concatenate([before, gap, result], axis=1)
        cv2.imwrite(str(FOLDER / f"{name}.jpg"), pair[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
