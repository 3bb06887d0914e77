"""What hurts in use and no labelled set has: bonnets, wipers, rain and night for roads; bystanders and empty rooms.

    RTSEG_MODELS=/folder/of/peers python -m benchmarks.robust road portrait

Held-back pictures, changed by the functions that also change training pictures but with other chances: so these are
the faults as we imitate them, not as they are. Needs the sets of `benchmarks/eval/*.toml` under RTSEG_SHARED.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from benchmarks.measure import ROOT, machine
from rtseg import store
from rtseg.build import build_source
from rtseg.config import ModelOptions, VideoSource
from rtseg.datasets import DataSet, Sample
from rtseg.engines import build_segmenter
from rtseg.evaluate.plan import make_plan
from rtseg.frame import Frame
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.resize import enlarge
from rtseg.results import masks_of
from rtseg.train import weather
from rtseg.train.augment import Scene, beside
from rtseg.train.backgrounds import at_most
from rtseg.types import Segmenter

ROADS = ("road", "road-fast", "twinlitenet")
PORTRAITS = ("portrait", "portrait-fast", "portrait-studio", "selfie-landscape", "selfie-general")
REGIONS = ("drivable", "vehicle", "vulnerable")
SKY = {"idd": 6, "camvid": 0}
ROOMS = ("sign_book", "sign_no", "sign_school", "sign_sister", "sign_student", "sign_walk", "sign_yes")
"""Clips that are in no recipe."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robust", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pages", nargs="*", choices=["road", "portrait", []], help="default: both")
    parser.add_argument("--every", type=int, default=3, help="take every n-th held-back picture")
    options = parser.parse_args(arguments)
    os.environ.setdefault("RTSEG_SHARED", str(ROOT.parent / "shared"))
    for page in options.pages or ("road", "portrait"):
        print("\n".join(road(options.every) if page == "road" else portrait(options.every)))
        print(f"\n{machine()['cpu']}, commit {machine()['commit'][:12]}\n")
    return 0


def road(every: int) -> list[str]:
    """IoU of each region, clean and through each fault; what of a painted bonnet and of the sky is called what."""
    samples = [
        _scene(data, stem) for data in _sets("road") if data.title in SKY for stem in data.stems("held_out")[::every]
    ]
    lines = [
        f"{len(samples)} held-back pictures of IDD and CamVid. IoU pooled: drivable / vehicle / vulnerable.",
        "",
        "| through | " + " | ".join(ROADS) + " |",
        "| --- |" + " ---: |" * len(ROADS),
    ]
    models = [_segmenter(name) for name in ROADS]
    for name, fault in FAULTS.items():
        shown = [fault(scene, _chance(name, index)) for index, scene in enumerate(samples)]
        cells = []
        for segment in models:
            found = [_regions(segment, scene.rgb) for scene in shown]
            cells.append(" / ".join(_pooled(found, shown, region) for region in REGIONS))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        if name in ("clean", "bonnet, pillar, wiper, reflection"):
            lines.append(_shares(name, models, samples, shown))
    return lines


def _shares(name: str, models: Sequence[Segmenter], before: Sequence[Scene], after: Sequence[Scene]) -> str:
    """A row: of the sky, what is called vehicle or vulnerable; of road under a painted bonnet, what is drivable."""
    cells = []
    for segment in models:
        wrong, total = 0, 0
        for first, scene in zip(before, after, strict=True):
            found = _regions(segment, scene.rgb)
            if name == "clean":
                place = first.planes[len(REGIONS)] > 127
                said = [found[region] for region in REGIONS[1:] if region in found]
            else:
                place = (first.planes[0] > 127) & (scene.planes[0] == 0) & (scene.known[0] > 0)
                said = [found["drivable"]]
            total += int(place.sum())
            wrong += int((np.any(said, axis=0) & place).sum()) if said else 0
        cells.append(f"{100 * wrong / max(total, 1):.2f} %" if said else "-")
    what = "of the sky: a vehicle or a person" if name == "clean" else "of road under a bonnet: drivable"
    return f"| {what} | " + " | ".join(cells) + " |"


def portrait(every: int) -> list[str]:
    """Bystanders half in the picture, and pictures of nobody."""
    fashion = next(data for data in _sets("portrait") if data.title == "head-to-chest")
    stems = fashion.stems("held_out")[::every]
    scenes = [_scene(fashion, stem) for stem in stems]
    doubles = []
    for index, scene in enumerate(scenes):
        other = scenes[(index + 7) % len(scenes)]
        other = _resized(other, (scene.rgb.shape[1], scene.rgb.shape[0]))
        doubles.append(beside(scene, other, np.random.default_rng([9, index])))
    roads = next(data for data in _sets("road") if data.title == "idd")
    empty = [
        _scene(roads, stem).rgb
        for stem in roads.stems("held_out")
        if not (roads.read(stem).planes["vulnerable"] > 0).any()
    ]
    lines = [
        f"{len(scenes)} held-back head-to-chest pictures with a second person half in them; {len(empty)} street "
        "pictures of nobody.",
        "",
        "| model | bystander decided | shown | in doubt | ghosts in streets | in rooms |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    rooms = _rooms()
    peers = [_segmenter(name) for name in ("selfie-landscape", "selfie-general")]
    nobody = [np.max([_mask(peer, rgb) for peer in peers], axis=0) < 13 for rgb in rooms]
    for name in PORTRAITS:
        segment = _segmenter(name)
        shares, doubts = [], []
        for scene, double in zip(scenes, doubles, strict=True):
            new = (double.planes[0] > 200) & (scene.planes[0] < 20)
            if new.mean() < 0.01:
                continue
            mask = _mask(segment, double.rgb)[new]
            shares.append(float((mask > 127).mean()))
            doubts.append(float(((mask > 51) & (mask < 204)).mean()))
        decided = statistics.mean(share < 0.1 or share > 0.9 for share in shares)
        ghosts = statistics.mean(float((_mask(segment, rgb) > 127).mean()) > 0.005 for rgb in empty)
        chairs = statistics.mean(
            float((_mask(segment, rgb) > 51)[empty_part].mean()) for rgb, empty_part in zip(rooms, nobody, strict=True)
        )
        lines.append(
            f"| {name} | {decided:.2f} | {statistics.mean(shares):.2f} | {statistics.mean(doubts):.3f} | {ghosts:.2f} "
            f"| {100 * chairs:.2f} % |"
        )
    return [
        *lines,
        "",
        "Bystander decided: share of the pictures in which over 90 % or under 10 % of the second person is called "
        "person; shown: share of his pixels; in doubt: share with a probability of 0.2 to 0.8. Ghosts: share of the "
        "pictures of nobody with over 0.5 % of person. In rooms: of what both selfie networks call empty (under 0.05) "
        "in webcam clips that no recipe trains on, how much has over 0.2.",
    ]


def _rooms() -> list[U8]:
    """Frames of the webcam clips that no recipe trains on."""
    found = []
    for name in ROOMS:
        path = Path(os.environ["RTSEG_SHARED"]) / "clips" / "people" / f"{name}.mkv"
        with contextlib.closing(build_source(VideoSource(path=path))) as video:
            found += [frame.rgb for frame in video if frame.index % 20 == 10]
    return found


def _clean(scene: Scene, _: Generator) -> Scene:
    return scene


def _glass(fault: Callable[[U8, Generator], U8]) -> Callable[[Scene, Generator], Scene]:
    return lambda scene, chance: replace(scene, rgb=fault(scene.rgb, chance))


FAULTS: dict[str, Callable[[Scene, Generator], Scene]] = {
    "clean": _clean,
    "bonnet, pillar, wiper, reflection": weather.cabin,
    "rain": _glass(weather.rain),
    "dusk": _glass(weather.dusk),
    "night": _glass(weather.night),
    "glare": _glass(weather.glare),
    "dirt": _glass(weather.dirt),
    "dappled shade": _glass(weather.shade),
    "reflection": _glass(weather.reflection),
}


def _sets(page: str) -> tuple[DataSet, ...]:
    return make_plan([ROOT / "benchmarks" / "eval" / f"{page}.toml"], [store.find_card(page)]).data


def _scene(data: DataSet, stem: str) -> Scene:
    """A held-back picture of at most 640 pixels with its regions, and for roads the sky last."""
    if data.title in SKY:
        data = data.model_copy(update={"regions": {**data.regions, "sky": (SKY[data.title],)}})
    sample: Sample = data.read(stem)
    names = (*REGIONS, "sky") if data.title in SKY else tuple(sample.planes)
    planes = np.stack([sample.planes[name] for name in names])
    scene = Scene(sample.rgb, planes, np.stack([sample.known] * len(names)))
    small = at_most(sample.rgb, 640)
    return _resized(scene, (small.shape[1], small.shape[0]))


def _resized(scene: Scene, size: tuple[int, int]) -> Scene:
    planes = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in scene.planes]
    known = [cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST) for plane in scene.known]
    rgb = as_u8(cv2.resize(scene.rgb, size, interpolation=cv2.INTER_AREA))
    return Scene(rgb, as_u8(np.stack(planes)), as_u8(np.stack(known)))


def _chance(name: str, index: int) -> Generator:
    return np.random.default_rng([7, zlib.crc32(name.encode()), index])


def _segmenter(name: str) -> Segmenter:
    return build_segmenter(ModelOptions(name=name), store.find_card(name))


def _regions(segment: Segmenter, rgb: U8) -> dict[str, np.ndarray]:
    """Region -> HxW, true where it is."""
    size = (rgb.shape[1], rgb.shape[0])
    masks = masks_of(segment(Frame.from_rgb(rgb)))
    return {name: enlarge(mask, size) > 127 for name, mask in masks.items()}


def _mask(segment: Segmenter, rgb: U8) -> U8:
    return enlarge(masks_of(segment(Frame.from_rgb(rgb)))["person"], (rgb.shape[1], rgb.shape[0]))


def _pooled(found: Sequence[dict[str, np.ndarray]], scenes: Sequence[Scene], region: str) -> str:
    both = either = 0
    index = REGIONS.index(region)
    for said, scene in zip(found, scenes, strict=True):
        if region not in said:
            return "-"
        truth, known = scene.planes[index] > 127, scene.known[index] > 0
        both += int((said[region] & truth & known).sum())
        either += int(((said[region] | truth) & known).sum())
    return f"{both / max(either, 1):.3f}"


if __name__ == "__main__":
    sys.exit(main())
