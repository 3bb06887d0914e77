"""People who touch, taken apart: each pixel is one's or the other's."""

from __future__ import annotations

import cv2
import numpy as np

from rtseg.ops.arrays import F32, U8, as_u8

_WIDE = 6.0
"""Pixels from the line between two people within which their colours may move it."""
_NEW = 0.5
"""How sure a pixel is that was nobody's a frame ago, of what one is that was somebody's."""
_COLOUR, _MOST = 0.8, 0.9
"""What colours count beside places, and at the most: never more than a place of which there is no doubt."""

_PATCH = 0.2
"""Share of the subject's largest patch under which another is not the subject's."""


def divided(mine: U8, others: U8, area: U8, likelier: F32 | None) -> U8:
    """Where the subject is in an area in which people touch, 0 and 255, as all planes.

    mine, others: whose it was a frame ago, where it is now. likelier: of `rtseg.filters.looks`, None where looks are
    not known. A patch is the subject's only where most of what was somebody's was the subject's: a face beside it is
    skin too, and must not be shown for that.
    """
    to_mine, to_others = (
        cv2.distanceTransform(as_u8(cv2.bitwise_not(plane)), cv2.DIST_L2, 3) for plane in (mine, others)
    )
    nearer = np.clip((to_others - to_mine) / _WIDE, -1.0, 1.0)
    nearer[(mine | others) == 0] *= _NEW
    if likelier is not None:
        nearer += np.clip(_COLOUR * likelier, -_MOST, _MOST)
    ours = as_u8(cv2.medianBlur(np.where(nearer >= 0, np.uint8(255), np.uint8(0)), 5)) & area
    _, patches = cv2.connectedComponents(ours, connectivity=4)
    count = int(patches.max()) + 1
    was_mine, was_others = (np.bincount(patches[plane > 0], minlength=count) for plane in (mine, others))
    sizes = np.bincount(patches.reshape(-1), minlength=count)
    sizes[0] = 0
    kept = (was_mine >= was_others) & ((was_mine > 0) | (not was_mine.any())) & (sizes >= _PATCH * sizes.max())
    kept[0] = False
    return as_u8(np.where(kept, np.uint8(255), np.uint8(0))[patches])
