"""Masks as COCO's runs: lengths down the columns that begin with the zeros, and pycocotools' text of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Hard: TypeAlias = NDArray[np.bool_]
"""A mask, HxW."""


def box_of(mask: Hard) -> tuple[int, int, int, int]:
    """x, y, width, height of what is True; all zero where nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)


def runs_of(mask: Hard) -> list[int]:
    """The lengths of runs of False and True in turns, column after column."""
    flat = mask.ravel(order="F")
    bounds = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    lengths: list[int] = np.diff(bounds).tolist()
    return [0, *lengths] if flat[0] else lengths


def mask_of_runs(runs: Sequence[int], size: tuple[int, int]) -> Hard:
    """The mask of `size` (width, height); ValueError where the runs do not fill it."""
    width, height = size
    if min(runs, default=0) < 0 or sum(runs) != width * height:
        raise ValueError(f"its runs cover {sum(runs)} pixels, not {width}x{height} = {width * height}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def text_of_runs(runs: Sequence[int]) -> str:
    """Runs as pycocotools writes them.

    From the fourth on, each length is the difference to the one before the last; numbers go by five bits, lowest
    first, a sixth says that more follow, and 48 is added. Source: rleToString of maskApi.c (cocoapi, BSD).
    """
    text = []
    for place, length in enumerate(runs):
        rest = length - runs[place - 2] if place > 2 else length
        more = True
        while more:
            five = rest & 31
            rest >>= 5
            more = rest != (-1 if five & 16 else 0)
            text.append(chr(48 + five + 32 * more))
    return "".join(text)
