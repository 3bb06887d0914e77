"""The old background in and around the edge of a subject, on drawn scenes whose truth is exact.

    python -m benchmarks.halo [--pictures FOLDER]

Textured people with soft hair stand before textured rooms, 1280 x 720, 4:2:0; the frame is alpha F + (1 - alpha) B.
"outside": mean error of RGB in the 6 pixels outside the edge after a blur, against the blur of the room alone, beside
that of a plain blur, which blurs the person too. "inside": mean error where alpha is between 0.05 and 0.95, over a
colour, a bright picture and the blur, against alpha F + (1 - alpha) N, with the frame's own pixels and with the
subject's colours estimated ("decontaminate"). The alpha is the exact one at half the frame's size, or what networks
make of it: an edge twice as wide, a pixel off.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.compositor import Compositor
from rtseg.effects.background import Background
from rtseg.frame import Frame, Size
from rtseg.ops.arrays import U8, as_u8
from rtseg.types import Blur, Picture, Regions, Solid

F64: TypeAlias = NDArray[np.float64]
SIZE = (1280, 720)
GREEN = (0, 177, 64)
STRENGTH = 2.5


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame and what it was made of: alpha 0..1 HxW, subject and room, RGB HxWx3 0..255."""

    alpha: F64
    subject: F64
    room: F64

    def over(self, background: F64) -> F64:
        """The exact composite, RGB."""
        return self.subject * self.alpha[..., None] + background * (1.0 - self.alpha[..., None])

    def frame(self) -> Frame:
        """What a camera sees."""
        return frame_of(self.over(self.room))


def scenes() -> list[Scene]:
    """Dark before bright, bright before dark, and colour before colour."""
    colours = [((70, 45, 40), (215, 205, 190)), ((205, 170, 150), (40, 45, 60)), ((150, 60, 70), (60, 130, 140))]
    return [
        Scene(_person(seed), texture(subject, 25.0, seed=seed), texture(room, 35.0, seed=seed + 50))
        for seed, (subject, room) in enumerate(colours, 1)
    ]


def texture(mean: tuple[int, int, int], spread: float, *, seed: int) -> F64:
    """Patches of several sizes around a colour, RGB HxWx3."""
    chance = np.random.default_rng(seed)
    made = np.zeros((SIZE[1], SIZE[0], 3))
    for side, share in ((160, 1.0), (40, 0.5), (8, 0.25)):
        coarse = chance.normal(size=(SIZE[1] // side + 2, SIZE[0] // side + 2, 3))
        made += share * np.asarray(cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC))
    return np.asarray(np.clip(np.array(mean) + spread * made, 0.0, 255.0))


def _person(seed: int) -> F64:
    """Head, shoulders, a raised hand and strands of hair, drawn at twice the size."""
    chance = np.random.default_rng(seed)
    drawn = np.zeros((2 * SIZE[1], 2 * SIZE[0]), np.uint8)
    x, y = 1280 + int(chance.integers(-200, 200)), 560
    cv2.ellipse(drawn, (x, y), (190, 250), 0, 0, 360, 255, -1, cv2.LINE_AA)
    cv2.ellipse(drawn, (x, 1440), (560, 640), 0, 180, 360, 255, -1, cv2.LINE_AA)
    cv2.line(drawn, (x + 420, 1300), (x + 700, 700), 255, 110, cv2.LINE_AA)
    for finger in range(5):
        cv2.line(drawn, (x + 700, 700), (x + 600 + 55 * finger, 520), 255, 26, cv2.LINE_AA)
    for _ in range(160):
        turn = float(chance.uniform(np.pi, 2 * np.pi))
        root = np.array([x + 185 * np.cos(turn), y + 245 * np.sin(turn)])
        ends = [root, root + chance.uniform(10, 60) * np.array([np.cos(turn), np.sin(turn)])]
        ends.append(ends[1] + chance.normal(scale=25.0, size=2))
        cv2.polylines(drawn, [np.rint(ends).astype(np.int32)], False, 255, int(chance.integers(1, 5)), cv2.LINE_AA)
    small = cv2.resize(drawn, SIZE, interpolation=cv2.INTER_AREA).astype(np.float64) / 255.0
    return np.asarray(np.clip(cv2.GaussianBlur(small, (0, 0), 1.5), 0.0, 1.0))


def frame_of(rgb: F64) -> Frame:
    """RGB HxWx3, 0..255, as a frame."""
    return Frame.from_rgb(np.rint(np.clip(rgb, 0.0, 255.0)).astype(np.uint8))


def blur(picture: F64, sigma: float) -> F64:
    """All of it, by a float64 Gaussian."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float64)


def masks(alpha: F64) -> dict[str, U8]:
    """The exact alpha and what a network might make of it, at half the size."""
    half = (SIZE[0] // 2, SIZE[1] // 2)
    exact = np.asarray(cv2.resize(alpha, half, interpolation=cv2.INTER_AREA))
    moved = cv2.warpAffine(cv2.GaussianBlur(exact, (0, 0), 2.0), np.array([[1, 0, 0.7], [0, 1, 0.7]]), half)
    return {
        "exact": np.rint(255.0 * exact).astype(np.uint8),
        "network": np.rint(255.0 * np.asarray(moved)).astype(np.uint8),
    }


def regions(mask: U8) -> Regions:
    """That mask of a person."""
    return Regions(mask[None], ("person",), 0, Size(*SIZE))


def error(got: Frame, truth: F64, where: NDArray[np.bool_]) -> float:
    """Mean absolute error of R, G and B there, in levels."""
    return float(np.abs(got.rgb.astype(np.float64) - truth)[where].mean())


def outside(alpha: F64) -> NDArray[np.bool_]:
    """The 6 pixels outside the edge, alpha being under a half there."""
    beyond = (alpha < 0.5).astype(np.uint8)
    return np.asarray((beyond > 0) & (cv2.distanceTransform(beyond, cv2.DIST_L2, 5) <= 6.0))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.halo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pictures", type=Path, help="a folder for crops of what was compared")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    spent: dict[tuple[str, str, str], list[float]] = {}
    sheet: list[U8] = []
    bright = texture((225, 215, 150), 20.0, seed=99)
    for scene in scenes():
        frame = scene.frame()
        sigma = STRENGTH / 100 * SIZE[1]
        blurred, whole = (blur(picture, sigma) for picture in (scene.room, scene.over(scene.room)))
        grounds: dict[str, tuple[Blur | Picture | Solid, F64]] = {
            "green": (Solid(GREEN), np.broadcast_to(np.array(GREEN, np.float64), scene.room.shape)),
            "picture": (Picture(frame_of(bright)), bright),
            "blur": (Blur(STRENGTH), blurred),
        }
        edge, beyond = (scene.alpha > 0.05) & (scene.alpha < 0.95), outside(scene.alpha)
        for kind, mask in masks(scene.alpha).items():
            for name, (paint, behind) in grounds.items():
                truth = scene.over(behind)
                for way, clean in (("frame", False), ("estimated", True)):
                    out = Compositor()(frame, Background(paint, decontaminate=clean)(frame, regions(mask), ()))
                    spent.setdefault(("inside", f"{name}, {kind}", way), []).append(error(out, truth, edge))
                    if name == "blur":
                        spent.setdefault(("outside", kind, way), []).append(error(out, truth, beyond))
                    sheet.append(as_u8(out.rgb[150:350, 540:900]))
            plain = Compositor()(frame, Background(Picture(frame_of(whole)))(frame, regions(mask), ()))
            spent.setdefault(("outside", kind, "plain"), []).append(error(plain, scene.over(blurred), beyond))
    print("| where | what | plain blur | frame's pixels | estimated | ratio |")
    print("|---|---|---:|---:|---:|---:|")
    for where, what in dict.fromkeys(key[:2] for key in spent):
        plain_, before, after = (
            float(np.mean(spent[where, what, way])) if (where, what, way) in spent else None
            for way in ("plain", "frame", "estimated")
        )
        assert before is not None
        assert after is not None
        base = before if plain_ is None else plain_
        cells = ("" if plain_ is None else f"{plain_:.2f}", f"{before:.2f}", f"{after:.2f}", f"{after / base:.2f}")
        print(f"| {where} | {what} | " + " | ".join(cells) + " |")
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
        rows = [np.hstack(sheet[at : at + 6]) for at in range(0, len(sheet), 6)]
        cv2.imwrite(str(options.pictures / "halo.png"), np.vstack(rows)[..., ::-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
