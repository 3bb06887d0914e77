"""Who is who after two people touched and their pixels were exchanged, which flow does to people who pass."""

from __future__ import annotations

import numpy as np
import pytest
from people import BLUE, GREY, RED, Figure, drawn, matte_of

from rtseg.filters.following import Follower
from rtseg.filters.subject import parts_of
from rtseg.ops.arrays import as_u8
from rtseg.ops.flow import FLOW_SIZE
from rtseg.ops.resize import resize


def step(follower: Follower, index: int, *figures: Figure) -> None:
    frame = drawn(*figures, index=index)
    small = resize(matte_of(*figures), FLOW_SIZE)
    follower(parts_of(small), frame.luma(FLOW_SIZE), frame.planes[1:], 1 / 30, (0.2, 0.6))


@pytest.mark.parametrize(("clothes", "speed"), [((RED, BLUE), 0.0), ((GREY, GREY), 1.0)], ids=["looks", "walking on"])
def test_exchanged_pixels_do_not_exchange_people(
    clothes: tuple[tuple[int, int], tuple[int, int]], speed: float
) -> None:
    follower = Follower()
    for index in range(30):
        left, right = (
            Figure(40 + speed * index, clothes=clothes[0]),
            Figure(216 - speed * index, clothes=clothes[1], seed=3),
        )
        step(follower, index, left, right)
    assert follower.mine is not None
    missing = 176 - 60 * speed if speed else 0.0
    end = 29 + round(missing / (2 * speed) * 1.6) if speed else 29
    for _ in range(29, end):
        follower._passing.touching(1 / 30)
    here, there = Figure(40 + speed * end, clothes=clothes[0]), Figure(216 - speed * end, clothes=clothes[1], seed=3)
    one, other = (
        as_u8(np.where(resize(each.matte(), FLOW_SIZE) > 127, np.uint8(255), np.uint8(0))) for each in (here, there)
    )
    follower.mine, follower.others, follower._together = other, one, as_u8(one | other)  # exchanged
    follower._luma = drawn(here, there, index=end).luma(FLOW_SIZE)
    step(follower, end, here, there)
    assert follower.mine[one > 0].mean() > 250
    assert not follower.mine[other > 0].any()
