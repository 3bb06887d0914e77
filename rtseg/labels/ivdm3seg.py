"""IVDM3Seg, discs of the lower spine in MR images of four kinds, and any volumes that are named like them.

A subject is NAME_fat.nii, NAME_inn.nii, NAME_opp.nii and NAME_wat.nii (fat, in phase, opposed phase, water) with
NAME_Labels.nii beside them or in a folder of labels; .nii.gz will do. Zheng, Belavy and Li, MICCAI 2018.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg import registry
from rtseg.errors import ConfigError
from rtseg.labels.taking import Taken, Taker
from rtseg.ops.arrays import U8

if TYPE_CHECKING:
    from rtseg.sources.volume import Volume

Files: TypeAlias = dict[str, Path]
"""Kind in small letters, or "labels", -> file."""

CHANNELS = ("fat", "opp", "wat")
"""What becomes red, green and blue: in phase is the sum of fat and water, so it would add nothing."""
REGION = "disc"

_NAME = re.compile(r"(.+)_(fat|inn|opp|wat|labels)\.nii(?:\.gz)?", re.IGNORECASE)
_APART = 0.5
"""How many voxels the corners of two grids may be apart to be one grid."""


def subjects(source: Path) -> dict[str, Files]:
    """Every subject that has labels in `source` or its folders, in order. Raises ConfigError."""
    found: dict[str, Files] = {}
    for path in sorted(source.rglob("*.nii*")):
        if match := _NAME.fullmatch(path.name):
            files = found.setdefault(match[1], {})
            if (other := files.setdefault(match[2].lower(), path)) != path:
                raise ConfigError(f"{other} and {path} are both {match[2]} of subject {match[1]}: keep one of them")
    return {name: files for name, files in found.items() if "labels" in files}


def read_spines(
    source: Path,
    folder: Path,
    *,
    images: Path | None = None,
    regions: Sequence[str] | None = None,
    instances: bool = False,
    replace: bool = False,
    channels: Sequence[str] = CHANNELS,
) -> Taken:
    """Make `folder` of labelled volumes: a picture NAME_NUMBER.png a slice, of one kind grey, of three coloured.

    Slices are cut in the plane of their finest pixels (for IVDM3Seg sagittal). Each volume is shown between its own
    percentiles, since MR has no units. Labels that lie on another grid than the images are brought onto it, each voxel
    from the nearest. What is not 0 is a disc; with `instances`, each connected part of a slice is one. All slices of a
    subject stay on one side of the split. Raises ConfigError, SourceError, and DependencyMissing without the extra.
    """
    if images is not None:
        raise ConfigError(f"the volumes are in {source} themselves: leave --images out")
    if regions is not None and list(regions) != [REGION]:
        raise ConfigError(f"no label is called {', '.join(map(repr, regions))}: there is {REGION}")
    if len(channels) not in (1, 3) or set(channels) - {"fat", "inn", "opp", "wat"}:
        raise ConfigError(f"channels {', '.join(channels)}: give one or three of fat, inn, opp and wat")
    found = subjects(source)
    if not found:
        raise ConfigError(f"{source} has no NAME_Labels.nii: give the folder of the training data")
    for name, files in found.items():
        if missing := [kind for kind in channels if kind not in files]:
            raise ConfigError(f"subject {name} has no {name}_{missing[0]}.nii beside {files['labels']}")
    taker = Taker(
        folder,
        "instances" if instances else "index",
        {REGION: () if instances else (1,)},
        images=source,
        replace=replace,
        group="^.+(?=_)",
    )
    notes = []
    for name, files in found.items():
        moved = _take(taker, name, files, channels, instances=instances)
        if moved:
            notes.append(
                f"the labels of {name} lay up to {moved:.1f} mm from its images and were brought onto their grid"
            )
    return taker.done(notes)


def _take(taker: Taker, name: str, files: Files, channels: Sequence[str], *, instances: bool) -> float:
    """Write a subject's slices; how far its labels lay from its images, in mm, 0 for the same grid."""
    read = registry.import_target("rtseg.sources.volume:read_volume", extra="medical")
    shades = registry.import_target("rtseg.sources.slices:percentile_bounds", extra="medical")
    grey = registry.import_target("rtseg.sources.slices:grey", extra="medical")
    looked_at = registry.import_target("rtseg.sources.volume:looked_at", extra="medical")
    finest = registry.import_target("rtseg.sources.nifti:finest", extra="medical")
    volumes: list[Volume] = [read(files[kind]) for kind in channels]
    first, labels = volumes[0], read(files["labels"])
    for kind, volume in zip(channels, volumes, strict=True):
        if volume.stored.shape != first.stored.shape:
            raise ConfigError(
                f"{files[kind]} has {_shape(volume)} voxels, {files[channels[0]]} {_shape(first)}: "
                "they are not of one subject"
            )
    apart = _apart(first, labels, files["labels"])
    discs = _on_grid(first, labels) if apart else np.asarray(labels.stored != 0)
    axis = finest(first.spacing)
    count = first.stored.shape[axis]
    bounds = [shades(volume.slice(axis, index) for index in range(0, count, max(count // 8, 1))) for volume in volumes]
    for index in range(count):
        picture = f"{name}_{index:03d}.png"
        if taker.wants(picture):
            planes: list[U8] = [
                grey(volume.slice(axis, index), bound) for volume, bound in zip(volumes, bounds, strict=True)
            ]
            mask = np.ascontiguousarray(looked_at(discs, axis, index)).view(np.uint8)
            numbered = cv2.connectedComponents(mask)[1] if instances else mask
            taker.put(picture, np.dstack(planes[::-1] if len(planes) == 3 else planes * 3), np.asarray(numbered))
    return apart


def _shape(volume: Volume) -> str:
    return "x".join(map(str, volume.stored.shape))


def _corners(volume: Volume) -> NDArray[np.float64]:
    sides = [(0, size - 1) for size in volume.stored.shape]
    return np.array([[x, y, z, 1] for x in sides[0] for y in sides[1] for z in sides[2]], np.float64)


def _apart(images: Volume, labels: Volume, path: Path) -> float:
    """How far the corners of two grids are apart at most, in mm; 0 where they are one."""
    if images.affine is None or labels.affine is None:
        if images.stored.shape != labels.stored.shape:
            raise ConfigError(
                f"{path} has {_shape(labels)} voxels, the images {_shape(images)}, and nothing says where"
            )
        return 0.0
    there, here = _corners(labels) @ labels.affine.T, _corners(images) @ images.affine.T
    distance = float(np.linalg.norm(there - here, axis=1).max())
    same = images.stored.shape == labels.stored.shape and distance <= _APART * min(images.spacing)
    return 0.0 if same else distance


def _on_grid(images: Volume, labels: Volume) -> NDArray[np.bool_]:
    """Where each voxel of the images is labelled, by the nearest voxel of the labels; outside of them nowhere."""
    assert images.affine is not None
    assert labels.affine is not None
    step = np.linalg.inv(labels.affine) @ images.affine
    found = np.zeros(images.stored.shape, np.bool_)
    x, y = np.meshgrid(*(np.arange(size) for size in images.stored.shape[:2]), indexing="ij")
    for z in range(images.stored.shape[2]):  # a plane at a time: memory
        places = np.rint(np.stack([x, y, np.full_like(x, z), np.ones_like(x)], axis=-1) @ step.T).astype(np.int64)
        there = places[..., :3]
        held = ((there >= 0) & (there < labels.stored.shape)).all(axis=-1)
        i, j, k = there[held].T
        found[..., z][held] = labels.stored[i, j, k] != 0
    return found
