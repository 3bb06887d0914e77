from __future__ import annotations

import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from rtseg.errors import ConfigError, DependencyMissing
from rtseg.frame import BT709
from rtseg.sources.sample import Sample
from rtseg.types import Size, Source


def test_it_is_a_source_that_says_what_it_will_give() -> None:
    sample = Sample(seconds=0.2, size=(320, 180), rate=25)
    assert isinstance(sample, Source)
    frames = list(sample)
    assert sample.info.frames == len(frames) == 5
    assert [f.pts for f in frames] == [0, 1, 2, 3, 4]
    assert frames[0].time_base == sample.info.time_base == Fraction(1, 25)
    assert frames[0].size == sample.info.size == Size(320, 180)
    assert frames[0].colour == BT709
    assert not sample.live


def test_the_seed_decides_every_byte() -> None:
    first, again, other = (next(iter(Sample(seconds=0.1, size=(320, 180), seed=seed))) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first.planes, again.planes, strict=True))
    assert not np.array_equal(first.planes[0], other.planes[0])


def test_planes_stay_in_limited_range() -> None:
    y, u, v = next(iter(Sample(seconds=0.1, size=(640, 360)))).planes
    assert y.min() >= 16
    assert y.max() <= 235
    assert min(u.min(), v.min()) >= 16
    assert max(u.max(), v.max()) <= 240


def test_the_suit_is_orange() -> None:
    # The lower middle of the picture, a colour no mistake of channel order or range would leave.
    red, green, blue = next(iter(Sample(size=(640, 640)))).rgb[420:460, 120:160].reshape(-1, 3).mean(axis=0)
    assert red > 180
    assert 60 < green < 130
    assert blue < 90


def test_frames_move_and_carry_noise() -> None:
    frames = list(Sample(seconds=1.0, size=(320, 180), rate=30))
    near, far = (np.abs(frames[0].planes[0].astype(int) - frames[i].planes[0]).mean() for i in (1, 29))
    assert near > 1.0, "noise of standard deviation 2.5 in both frames"
    assert far > near + 1.0


@pytest.mark.parametrize("size", [(16, 16), (321, 241), (90, 160)])
def test_odd_and_upright_sizes(size: tuple[int, int]) -> None:
    assert next(iter(Sample(size=size))).size == size


def test_close_ends_the_iteration() -> None:
    sample = Sample(size=(64, 64))
    iterator = iter(sample)
    next(iterator)
    sample.close()
    assert list(iterator) == []


@pytest.mark.parametrize("options", [{"seconds": 0}, {"rate": -1}, {"size": (8, 720)}, {"size": (10000, 720)}])
def test_nonsense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cannot be made"):
        Sample(**options)


def test_without_scikit_image_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(DependencyMissing, match=r"pip install 'rtseg\[demo\]'"):
        Sample()
