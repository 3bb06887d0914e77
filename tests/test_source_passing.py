from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rtseg.errors import SourceTooLarge, SourceUnreadable
from rtseg.sources.passing import Passing
from rtseg.types import Frame


def read(name: str) -> Frame:
    """A grey frame as wide as its name says; "broken" and "large" cannot be read."""
    if name == "large":
        raise SourceTooLarge("large is too large")
    if not name.isdigit():
        raise SourceUnreadable(f"{name} is broken")
    return Frame.from_rgb(np.full((2, int(name), 3), 90, np.uint8))


def test_what_is_broken_is_passed_over_and_keeps_its_place() -> None:
    passing = Passing(Fraction(10))
    frames = list(passing.frames(["4", "broken", "4", "6"], Path, read))
    assert [(f.index, f.pts, f.epoch, f.duration, f.time) for f in frames] == [
        (0, 0, 0, 1, 0.0),
        (2, 2, 0, 1, 0.2),
        (3, 3, 1, 1, 0.3),
    ]
    assert passing.failures == {Path("broken"): "broken is broken"}
    assert passing.counts == {"broken_images": 1}


def test_nothing_but_broken_is_the_one_files_error_or_one_for_all() -> None:
    with pytest.raises(SourceTooLarge, match="large is too large"):
        list(Passing(Fraction(10)).frames(["large"], Path, read))
    with pytest.raises(SourceUnreadable, match="none of 2 pictures can be read; the last: large is too large"):
        list(Passing(Fraction(10)).frames(["broken", "large"], Path, read))


def test_closed_it_ends_at_the_next() -> None:
    passing = Passing(Fraction(10))
    frames = passing.frames(["4", "4", "4"], Path, read)
    next(frames)
    passing.closed = True
    assert list(frames) == []


def test_what_was_made_of_a_picture_goes_with_it() -> None:
    exact = np.full((2, 4, 3), 91, np.uint8)
    (frame,) = Passing(Fraction(10)).frames(["4"], Path, lambda name: read(name).with_resized(exact))
    assert frame.resized((4, 2))[0, 0].tolist() == [91, 91, 91]
