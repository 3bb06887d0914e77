"""The picture sheet of `benchmarks.quality`: a row a scene; the frame, the true composite, and each method's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from rtseg.evaluate.sheet import tile_of
from rtseg.ops.arrays import U8, as_u8
from rtseg.ops.resize import resize
from rtseg.sinks.files import encode_image, write_whole

_WIDE = 400


def write_sheet(
    path: Path, names: Sequence[str], given: Sequence[tuple[U8, U8]], stills: Mapping[str, Sequence[U8]]
) -> None:
    """names: of scenes. given: frame and true composite of each. stills: method -> a composite a scene; RGB uint8."""
    rows = []
    for row, name in enumerate(names):
        panels = [(name, given[row][0]), ("truth", given[row][1])]
        panels += [(title, pictures[row]) for title, pictures in stills.items()]
        rows.append(np.hstack([tile_of([_small(picture)], title) for title, picture in panels]))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = np.ascontiguousarray(np.vstack(rows)[..., ::-1])
    write_whole(path, encode_image(sheet, path, (cv2.IMWRITE_PNG_COMPRESSION, 6)))


def _small(picture: U8) -> U8:
    size = (_WIDE, round(_WIDE * picture.shape[0] / picture.shape[1]))
    return as_u8(np.dstack([resize(np.ascontiguousarray(picture[..., i]), size) for i in range(3)]))
