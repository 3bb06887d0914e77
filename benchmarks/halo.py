"""The old background in and around the edge of a subject, on drawn scenes whose truth is exact.

    python -m benchmarks.halo [--pictures FOLDER]

Textured people with soft hair stand before textured rooms, 1280 x 720, 4:2:0; the frame is alpha F + (1 - alpha) B.
"outside": mean error of RGB in the 6 pixels outside the edge after a blur, against the blur of the room alone, beside
that of a plain blur, which blurs the person too. "inside": mean error where alpha is between 0.05 and 0.95, over a
colour, a bright picture and the blur, against alpha F + (1 - alpha) N, with the frame's own pixels and decontaminated.
Ratios are to the plain blur outside, to the frame's pixels inside. The alpha is the exact one at half the frame's size,
or what networks make of it at a fifth, softer and more than a pixel of the frame off, as it is and refined. Then the
CPU milliseconds of each option, one thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import machine, watched
from rtseg.compositor import Compositor
from rtseg.effects.background import Background
from rtseg.filters.refine import EdgeRefine
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


def scenes(*, busy: bool) -> list[Scene]:
    """Dark before bright, bright before dark, and colour before colour, in busy rooms or before plain walls."""
    colours = [((70, 45, 40), (215, 205, 190)), ((205, 170, 150), (40, 45, 60)), ((150, 60, 70), (60, 130, 140))]
    return [
        Scene(_person(seed), texture(subject, 25.0, seed=seed), texture(room, 35.0 if busy else 10.0, seed=seed + 50))
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


def masks(scene: Scene) -> dict[str, U8]:
    """The exact alpha at half the size, what a network might make of it at a fifth, and that refined by rtseg."""
    exact = np.asarray(cv2.resize(scene.alpha, (SIZE[0] // 2, SIZE[1] // 2), interpolation=cv2.INTER_AREA))
    small = cv2.GaussianBlur(cv2.resize(scene.alpha, (256, 144), interpolation=cv2.INTER_AREA), (0, 0), 0.8)
    moved = cv2.warpAffine(small, np.array([[1, 0, 0.25], [0, 1, 0.25]]), (256, 144), borderMode=cv2.BORDER_REPLICATE)
    network = np.rint(255.0 * np.asarray(moved)).astype(np.uint8)
    refined = EdgeRefine()(scene.frame(), regions(network))
    assert isinstance(refined, Regions)
    return {
        "exact": np.rint(255.0 * exact).astype(np.uint8),
        "network": network,
        "network, refined": refined.probabilities[0],
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


@dataclass(frozen=True, eq=False)
class Errors:
    """Mean errors by where, what and how, one a scene; crops of what was compared."""

    of: dict[tuple[str, str, str], list[float]]
    crops: list[U8]

    def add(self, where: str, what: str, way: str, value: float) -> None:
        """One more scene."""
        self.of.setdefault((where, what, way), []).append(value)

    def measure(self, scene: Scene, walls: str) -> None:
        """All backgrounds, alphas and ways on one scene."""
        frame, sigma = scene.frame(), STRENGTH / 100 * SIZE[1]
        blurred, whole = (blur(picture, sigma) for picture in (scene.room, scene.over(scene.room)))
        bright = texture((225, 215, 150), 20.0, seed=99)
        grounds: dict[str, tuple[Blur | Picture | Solid, F64]] = {
            "green": (Solid(GREEN), np.broadcast_to(np.array(GREEN, np.float64), scene.room.shape)),
            "picture": (Picture(frame_of(bright)), bright),
            "blur": (Blur(STRENGTH), blurred),
        }
        edge, beyond = (scene.alpha > 0.05) & (scene.alpha < 0.95), outside(scene.alpha)
        for kind, mask in masks(scene).items():
            for name, (paint, behind) in grounds.items():
                truth = scene.over(behind)
                for way, clean in (("frame", False), ("estimated", True)):
                    out = Compositor()(frame, Background(paint, decontaminate=clean)(frame, regions(mask), ()))
                    self.add("inside", f"{name}, {walls}, {kind}", way, error(out, truth, edge))
                    if name == "blur":
                        self.add("outside", f"{name}, {walls}, {kind}", way, error(out, truth, beyond))
                    self.crops.append(as_u8(out.rgb[150:350, 540:900]))
            plain = Compositor()(frame, Background(Picture(frame_of(whole)))(frame, regions(mask), ()))
            self.add("outside", f"blur, {walls}, {kind}", "plain", error(plain, scene.over(blurred), beyond))

    def rows(self) -> list[str]:
        """Of a Markdown table."""
        made = []
        for where, what in sorted(dict.fromkeys(key[:2] for key in self.of)):
            plain, before, after = (
                float(np.mean(self.of[where, what, way])) if (where, what, way) in self.of else float("nan")
                for way in ("plain", "frame", "estimated")
            )
            base = before if np.isnan(plain) else plain
            cells = [
                *(f"{value:.1f}" for value in (plain, before, after)),
                f"{before / base:.2f}",
                f"{after / base:.2f}",
            ]
            made.append(f"| {where} | {what} | " + " | ".join(cells).replace("nan", "") + " |")
        return made


def costs(rounds: int) -> dict[str, float]:
    """CPU milliseconds of effect and compositor a frame, medians of rounds that take all in turn."""
    scene = scenes(busy=True)[0]
    frame, found = scene.frame(), regions(masks(scene)["network, refined"])
    bright = Picture(frame_of(texture((225, 215, 150), 20.0, seed=99)))
    options: list[dict[str, Any]] = [{}, {"decontaminate": True}, {"feather": 1.0}, {"feather": -1.0}]
    options += [{"light_wrap": 0.5}, {"shadow": 0.5}]
    options += [{"decontaminate": True, "feather": 0.5, "light_wrap": 0.5, "shadow": 0.5}]
    ways = {f"picture {_named(each)}": Background(bright, **each) for each in options}
    ways |= {f"colour {_named(each)}": Background(Solid(GREEN), **each) for each in options}
    ways |= {f"blur:2.5 {_named(each)}": Background(Blur(), **each) for each in options[:2]}
    ways |= {f"blur:{strength:g}": Background(Blur(strength)) for strength in (1.0, 8.0)}
    ways |= {f"bokeh:{strength:g}": Background(Blur(strength, "disc")) for strength in (1.0, 2.5, 8.0)}
    ways |= {"bokeh-depth:2.5": Background(Blur(2.5, "depth"))}
    compositor = Compositor()
    spent: dict[str, list[float]] = {}
    for _ in range(rounds + 2):
        for name, effect in ways.items():
            fresh = frame.with_planes(frame.planes)
            fresh.luma((SIZE[0] // 2, SIZE[1] // 2))  # the network's preprocessing has made it
            start = time.thread_time()
            compositor(fresh, effect(fresh, found, ()))
            spent.setdefault(name, []).append(1e3 * (time.thread_time() - start))
    return {name: statistics.median(each[2:]) for name, each in spent.items()}


def _named(options: dict[str, Any]) -> str:
    if len(options) > 2:
        return "all four"
    return " ".join(f"{name} {value}" for name, value in options.items()) or "alone"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.halo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pictures", type=Path, help="a folder for crops of what was compared")
    parser.add_argument("--rounds", type=int, default=60, help="of the measurement of costs")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    errors = Errors({}, [])
    for walls in ("plain room", "busy room"):
        for scene in scenes(busy=walls == "busy room"):
            errors.measure(scene, walls)
    print("| where | what | plain blur | frame's pixels | decontaminated | ratio | ratio |")
    print("|---|---|" + "---:|" * 5)
    print("\n".join(errors.rows()))
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
        rows = [np.hstack(errors.crops[at : at + 6]) for at in range(0, len(errors.crops), 6)]
        cv2.imwrite(str(options.pictures / "halo.png"), np.vstack(rows)[..., ::-1])
    with watched() as load:
        spent = costs(options.rounds)
    print("\n| background | CPU-ms at 720p |\n|---|---:|")
    print("\n".join(f"| {name} | {value:.2f} |" for name, value in spent.items()))
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    if load.warning:
        print(load.warning)
    return 0


if __name__ == "__main__":
    sys.exit(main())
