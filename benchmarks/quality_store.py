"""Rendered scenes and the masks of networks on them, kept in a folder, so that a filter is judged in seconds."""

from __future__ import annotations

import hashlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import quality_people, quality_scenes
from benchmarks.quality_people import read_backdrop, read_person
from benchmarks.quality_scenes import RATE, Scene, Shot, render
from rtseg import store
from rtseg.config import ModelOptions
from rtseg.engines import build_segmenter
from rtseg.frame import BT709
from rtseg.ops.arrays import U8
from rtseg.ops.resize import resize
from rtseg.types import Frame, Regions, Segmenter, Size

PATIENCE = 600.0
"""Seconds that a network may take on a machine that does much else."""

TRUTH = "truth"
"""A network that is never wrong: its masks are the true alphas at the size of our portrait network's."""
_TRUTH_SIZE = (256, 144)


@dataclass(frozen=True, eq=False, slots=True)
class Masks:
    """masks: uint8 NxHxW, one a frame. cpu_ms: median of what preprocessing and network took of a frame."""

    masks: U8
    cpu_ms: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a mask, which is that of the network's input for all networks compared."""
        return self.masks.shape[2], self.masks.shape[1]


class Networks:
    """Segmenters by the name of their card, built when they are first asked for."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._cards = {name: store.find_card(name) for name in names if name != TRUTH}
        self._built: dict[str, Segmenter] = {}

    def key(self, name: str) -> str:
        """What changes with the card or its weights."""
        return _short(repr(self._cards[name]))

    def __getitem__(self, name: str) -> Segmenter:
        if name not in self._built:
            options = ModelOptions(name=name, threads=1, timeout=PATIENCE)
            self._built[name] = build_segmenter(options, self._cards[name])
        return self._built[name]


def place(folder: Path, scene: Scene, size: Size) -> Path:
    """The folder of a scene, which is another one once the scene or the code that renders it is changed."""
    code = "".join(Path(str(each.__file__)).read_text(encoding="utf-8") for each in (quality_scenes, quality_people))
    return folder / f"{scene.name}-{size.width}x{size.height}-{_short(repr(scene) + code)}"


def shot(place: Path, scene: Scene, size: Size, shared: Path) -> Shot:
    """The scene's shot, rendered where it is not kept. Raises ConfigError where footage is missing."""

    def make() -> Mapping[str, NDArray[Any]]:
        person = read_person(shared, scene.person, size)
        made = render(scene, person, read_backdrop(shared, scene.backdrop, size, scene.frames), size)
        planes = {name: np.stack([frame.planes[i] for frame in made.frames]) for i, name in enumerate("yuv")}
        return planes | {name: getattr(made, name) for name in _ARRAYS}

    found = _kept(place / "shot", (*"yuv", *_ARRAYS), make)
    frames = [
        Frame((y, u, v), BT709, index=index, pts=index, time_base=Fraction(1, RATE))
        for index, (y, u, v) in enumerate(zip(found["y"], found["u"], found["v"], strict=True))
    ]
    return Shot(scene.name, scene.motion, frames, **{name: found[name] for name in _ARRAYS})


def masks(place: Path, name: str, networks: Networks, shot: Shot) -> Masks:
    """A network's masks on a shot; `name` is that of its card, or `TRUTH`."""
    if name == TRUTH:
        return Masks(np.stack([resize(alpha, _TRUTH_SIZE) for alpha in shot.alphas]), 0.0)

    def make() -> Mapping[str, NDArray[Any]]:
        segmenter = networks[name]
        segmenter.reset()
        found, spent = [], []
        for frame in shot.frames:
            before = time.process_time()
            regions = segmenter(frame)
            spent.append((time.process_time() - before) * 1e3)
            assert isinstance(regions, Regions)
            found.append(regions.probabilities[0].copy())
        return {"masks": np.stack(found), "cpu_ms": np.array(statistics.median(spent))}

    made = _kept(place / f"{name}-{networks.key(name)}", ("masks", "cpu_ms"), make)
    return Masks(made["masks"], float(made["cpu_ms"]))


_ARRAYS = ("alphas", "speeds", "still", "subjects", "backdrops")


def _kept(
    folder: Path, names: Sequence[str], make: Callable[[], Mapping[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """Arrays of a folder; where it is not there it is made elsewhere and renamed, so that none is half there."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            for name, array in make().items():
                np.save(making / f"{name}.npy", array)
            making.rename(folder)
        except OSError:
            if not folder.is_dir():  # else somebody was quicker
                raise
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return {name: np.load(folder / f"{name}.npy") for name in names}


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
