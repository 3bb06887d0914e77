from __future__ import annotations

from fractions import Fraction

import pytest

from rtseg.sources.timestamps import Monotonic

MILLISECONDS = Fraction(1, 1000)


def repaired(claims: list[int | None], *, duration: int = 40) -> tuple[list[int], int]:
    monotonic = Monotonic(MILLISECONDS, Fraction(25))
    return [monotonic(pts, duration) for pts in claims], monotonic.repaired


def test_good_timestamps_stay_as_they_are() -> None:
    uneven: list[int | None] = [-80, -40, 0, 7, 500, 501, 90_000]
    assert repaired(uneven) == (uneven, 0)


@pytest.mark.parametrize(
    ("claims", "expected", "changed"),
    [
        pytest.param([None, None, None], [0, 40, 80], 3, id="all missing"),
        pytest.param([1000, None, 1080], [1000, 1040, 1080], 1, id="one missing"),
        pytest.param([0, 40, 40, 80, 120], [0, 40, 60, 80, 120], 1, id="one repeated"),
        pytest.param([0, 40, 30, 80], [0, 40, 60, 80], 1, id="one slightly early"),
        pytest.param([0, 0, 0, 0], [0, 20, 40, 60], 3, id="all the same"),
        pytest.param([90_000, 90_040, 0, 40], [90_000, 90_040, 90_080, 90_120], 2, id="begins anew"),
        pytest.param([0, 40, 95_443_717, 95_443_757], [0, 40, 80, 120], 2, id="leaps by 2**33 ticks of 1/90000"),
        pytest.param([95_443_717, 95_443_757, 13, 53], [95_443_717, 95_443_757, 95_443_797, 95_443_837], 2, id="wraps"),
    ],
)
def test_bad_timestamps_are_made_to_grow(claims: list[int | None], expected: list[int], changed: int) -> None:
    assert repaired(claims) == (expected, changed)


def test_without_a_duration_a_missing_timestamp_follows_by_the_rate() -> None:
    assert repaired([0, None, None], duration=0) == ([0, 40, 80], 2)


def test_without_a_rate_a_missing_timestamp_follows_by_a_25th_of_a_second() -> None:
    monotonic = Monotonic(Fraction(1, 90_000), None)
    assert [monotonic(None) for _ in range(3)] == [0, 3600, 7200]


def test_decoding_times_replace_timestamps_that_were_stored_in_the_order_of_decoding() -> None:
    monotonic = Monotonic(Fraction(1, 30), Fraction(30))
    claims = [(2, 3), (3, 4), (5, 5), (4, 6), (6, 7), (9, 8), (8, 9), (10, 10), (7, 11)]
    assert [monotonic(pts, 1, dts) for pts, dts in claims] == [2, 3, 5, 6, 7, 8, 9, 10, 11]


def test_decoding_times_that_repeat_too_are_no_better() -> None:
    monotonic = Monotonic(MILLISECONDS, Fraction(25))
    assert [monotonic(0, 40, 0) for _ in range(3)] == [0, 20, 40]


def test_a_time_base_coarser_than_the_frames_still_grows() -> None:
    monotonic = Monotonic(Fraction(1), Fraction(25))
    assert [monotonic(pts) for pts in (5, 5, 5, 9)] == [5, 6, 7, 9]
