"""Models that label: what they say is cached on disk by the hash of their weights, so that a second run asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from rtseg import store
from rtseg.config import ModelOptions
from rtseg.engines import build_segmenter
from rtseg.errors import ConfigError
from rtseg.frame import Frame
from rtseg.ops.arrays import U8, as_u8
from rtseg.results import Regions
from rtseg.train.recipe import TeacherOptions


class Teacher:
    """A card's model that gives planes of our regions, uint8 0..255, of pictures uint8 HxWx3 RGB.

    Raises what `store.find_card` and the engine raise, and ConfigError for regions that the model does not have.
    """

    def __init__(self, options: TeacherOptions, *, cache: Path) -> None:
        self.options = options
        card = store.find_card(options.model)
        if strangers := sorted(set(options.regions) - set(card.names)):
            raise ConfigError(
                f"teacher {options.model!r} has no {', '.join(strangers)}: choose from {', '.join(card.names)}"
            )
        if card.family != "regions":
            raise ConfigError(f"teacher {options.model!r} gives classes, not soft regions: use one of family 'regions'")
        self._segment = build_segmenter(ModelOptions(name=options.model, providers=("cpu",)), card)
        self._cache = cache / f"{card.name}-{card.sha256[:12]}"

    def __call__(self, rgb: U8) -> dict[str, U8]:
        """Our region -> HxW at the model's own resolution."""
        result = self._segment(Frame.from_rgb(rgb))
        assert isinstance(result, Regions)
        planes = dict(zip(result.names, result.probabilities, strict=True))
        return {ours: planes[theirs] for theirs, ours in self.options.regions.items()}

    def cached(self, rgb: U8, *, place: str) -> dict[str, U8]:
        """The same for a picture that is asked about again; `place` names it, such as "idd/12_345"."""
        found: dict[str, U8] = {}
        for region in self.options.regions.values():
            path = self._cache / f"{place}.{region}.png"
            plane = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
            if plane is None:
                planes = self(rgb)
                for name, made in planes.items():
                    _write(self._cache / f"{place}.{name}.png", made)
                return planes
            found[region] = as_u8(plane)
        return found


def apply_teacher(
    options: TeacherOptions,
    opinion: Mapping[str, U8],
    planes: dict[str, U8],
    known: dict[str, U8],
) -> None:
    """Let a cached opinion fill or limit the labels of a picture, in place; planes and known are HxW a region.

    "fill": regions without labels get the teacher's soft ones; where `sure` is given, pixels less sure than that
    stay unknown. "ignore": pixels over a half for the teacher and denied by the label, farther than a hundredth
    of the picture from the labelled region, become unknown.
    """
    for region, plane in opinion.items():
        height, width = known[region].shape
        theirs = as_u8(cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR))
        if options.use == "fill":
            silent = known[region] == 0
            planes[region] = np.where(silent, theirs, planes[region])
            certain = np.abs(theirs.astype(np.float32) / 127.5 - 1) >= options.sure
            known[region] = np.where(silent & certain, np.uint8(255), known[region])
        elif options.use == "ignore":
            reach = 2 * max(2, round(0.01 * max(height, width))) + 1
            near = cv2.dilate(planes[region], np.ones((reach, reach), np.uint8)) > 127
            known[region] = np.where((theirs > 127) & ~near, np.uint8(0), known[region])


def _write(path: Path, plane: U8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part.png")
    cv2.imwrite(str(part), plane)
    part.replace(path)
