from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np

from rtseg.labels.frames import Look, choose, survey
from rtseg.types import Frame


def frame(rgb: np.ndarray, index: int = 0) -> Frame:
    return Frame.from_rgb(rgb.astype(np.uint8), index=index)


def pattern(seed: int) -> np.ndarray:
    """160x90, sharp everywhere; another seed is another picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 16, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (160, 90), interpolation=cv2.INTER_NEAREST))


def chosen(pictures: list[np.ndarray], count: int) -> list[int]:
    return choose(survey(frame(rgb, index) for index, rgb in enumerate(pictures)), count)


def at(*positions: float) -> list[Look]:
    """Looks of equal sharpness, so far apart from each other as the numbers are."""
    return [Look(i, 1.0, np.full(432, position, np.float32)) for i, position in enumerate(positions)]


def test_the_frames_that_differ_most_are_chosen() -> None:
    assert choose(at(0, 10, 11, 12, 13, 40, 41), 3) == [0, 4, 6], "the most usual, then the far ends"


def test_more_frames_only_add_to_fewer() -> None:
    looks = at(*np.random.default_rng(1).uniform(0, 255, 50))
    sets = [set(choose(looks, count)) for count in range(1, 20)]
    assert [len(each) for each in sets] == list(range(1, 20))
    assert all(few < more for few, more in pairwise(sets))


def test_a_scene_that_stands_still_is_one_frame() -> None:
    generator = np.random.default_rng(2)
    still = [np.clip(pattern(0) + generator.normal(0, 3, (90, 160, 1)), 0, 255) for _ in range(12)]
    assert len(chosen(still, 5)) == 1


def test_every_scene_is_met_once_before_any_is_met_again() -> None:
    scenes = [pattern(seed) for seed in (0, 0, 0, 1, 1, 2, 2, 2, 2, 3)]
    found = chosen(scenes, 10)
    assert len(found) == 4
    assert {[0, 0, 0, 1, 1, 2, 2, 2, 2, 3][index] for index in found} == {0, 1, 2, 3}


def test_blurred_and_black_frames_are_left_out() -> None:
    pictures = [pattern(seed) for seed in range(6)]
    pictures[2] = cv2.GaussianBlur(pictures[2], (0, 0), 12)
    pictures[4] = np.zeros_like(pictures[4])
    assert chosen(pictures, 6) == [0, 1, 3, 5]


def test_a_plain_scene_is_not_blurred_because_others_are_rich() -> None:
    rich, plain = pattern(1), 100 + pattern(2) // 4
    assert len(chosen([rich] * 60 + [plain] * 40, 5)) == 2


def test_a_video_of_one_colour_gives_a_frame_all_the_same() -> None:
    assert len(chosen([np.full((90, 160, 3), 90)] * 3, 2)) == 1


def test_nothing_gives_nothing() -> None:
    assert choose([], 5) == []


def test_a_long_video_is_looked_at_evenly_and_in_little_memory() -> None:
    one = frame(pattern(0))
    made: Callable[[int], Frame] = lambda index: Frame(one.planes, one.colour, index=index)  # noqa: E731
    for length, step in ((8, 1), (9, 2), (16, 2), (17, 4), (100, 16)):
        looks = survey(map(made, range(length)), kept=8)
        assert [each.index for each in looks] == list(range(0, length, step)), length


def test_the_same_video_gives_the_same_frames() -> None:
    pictures = [pattern(seed) for seed in range(30)]
    assert chosen(pictures, 7) == chosen(pictures, 7)
