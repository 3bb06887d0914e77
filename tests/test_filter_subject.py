from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from people import BLUE, GREY, RED, Figure, drawn, matte_of, regions, shown

from rtseg.errors import ConfigError
from rtseg.filters.subject import Subject
from rtseg.ops.arrays import U8, as_u8
from rtseg.subject import Who
from rtseg.types import Frame, Instances, Regions, Semantic

Script = Callable[[int], Sequence[Figure]]


def asked(subject: Subject, index: int, *figures: Figure) -> U8:
    frame = drawn(*figures, index=index)
    result = subject(frame, regions(frame, matte_of(*figures)))
    assert isinstance(result, Regions)
    return as_u8(result.probabilities[0])


def played(subject: Subject, script: Script, frames: int) -> list[U8]:
    return [asked(subject, index, *script(index)) for index in range(frames)]


def test_somebody_alone_is_left_as_they_are() -> None:
    subject = Subject(who="largest")
    for index in range(20):
        frame = drawn(Figure(60 + 4 * index), index=index)
        given = regions(frame, matte_of(Figure(60 + 4 * index)))
        assert subject(frame, given) is given


def test_everybody_costs_nothing() -> None:
    frame = drawn(Figure(60), Figure(190))
    given = regions(frame, matte_of(Figure(60), Figure(190)))
    assert Subject(who="all")(frame, given) is given


@pytest.mark.parametrize(("who", "left"), [("largest", True), ((0.2, 0.6), True), ((0.8, 0.5), False)])
def test_the_other_is_out_and_the_subject_is_the_same_to_the_last_level(who: Who, left: bool) -> None:
    one, other = Figure(60, r=32), Figure(190, r=26)
    kept, gone = (one, other) if left else (other, one)
    given = matte_of(one, other)
    result = asked(Subject(who=who), 0, one, other)
    assert np.array_equal(result, kept.matte())
    assert shown(result, gone) == 0
    assert np.array_equal(given, matte_of(one, other)), "the network's mask is not written into"


def test_nobody_is_at_the_place_and_the_nearest_is_taken() -> None:
    result = asked(Subject(who=(0.55, 0.1)), 0, Figure(60), Figure(190))
    assert np.array_equal(result, Figure(190).matte())


def test_a_gap_between_arm_and_body_stays_open() -> None:
    matte = matte_of(Figure(70, r=40), Figure(200, r=20))
    matte[80:100, 64:70] = 0
    frame = drawn(Figure(70, r=40), Figure(200, r=20))
    result = Subject(who="largest")(frame, regions(frame, matte))
    assert isinstance(result, Regions)
    assert np.array_equal(result.probabilities[0][:, :140], matte[:, :140])
    assert not result.probabilities[0][:, 140:].any()


@pytest.mark.parametrize("in_front", [True, False])
@pytest.mark.parametrize("clothes", [(RED, BLUE), (GREY, GREY)], ids=["unlike", "alike"])
@pytest.mark.parametrize("speed", [1.5, 2.0, 3.0])
def test_two_who_walk_past_each_other_stay_who_they_are(
    clothes: tuple[tuple[int, int], tuple[int, int]], in_front: bool, speed: float
) -> None:
    def script(index: int) -> Sequence[Figure]:
        mine = Figure(40 + speed * index, r=30, clothes=clothes[0], seed=3)
        other = Figure(216 - speed * index, clothes=clothes[1], seed=4)
        return (other, mine) if in_front else (mine, other)

    frames = int(176 / speed)
    results = played(Subject(who=(0.15, 0.6)), script, frames)
    for index, result in enumerate(results):
        mine, other = sorted(script(index), key=lambda figure: -figure.r)
        apart = abs(mine.x - other.x) - mine.r - other.r
        if apart > 8:
            assert shown(result, mine) > 0.99, f"the subject is there in frame {index}"
            assert shown(result, other) < 0.001, f"the bystander is not there in frame {index}"
        elif clothes == (RED, BLUE) and abs(mine.x - other.x) > 20:
            assert shown(result, other, beside=mine) < 0.2, f"the bystander hardly shows in frame {index}"


def test_two_alike_who_touch_and_part_again_stay_who_they_are() -> None:
    def script(index: int) -> Sequence[Figure]:
        near = 34 - abs(34 - index)
        return Figure(70 + near, r=30), Figure(190 - near, seed=4)

    results = played(Subject(who=(0.2, 0.6)), script, 70)
    for index, result in enumerate(results):
        mine, other = script(index)
        if other.x - mine.x > 68:
            assert (shown(result, mine) > 0.99, shown(result, other)) == (True, 0), index
        else:
            assert shown(result, mine, beside=other) > 0.8, index
            assert shown(result, other, beside=mine) < 0.25, index


def test_who_enters_is_never_shown_while_the_subject_is_there() -> None:
    def script(index: int) -> Sequence[Figure]:
        return Figure(80, r=34), Figure(290 - 1.5 * index, r=30, seed=4)

    for index, result in enumerate(played(Subject(who="largest"), script, 80)):
        assert shown(result, script(index)[1]) == 0, index
        assert np.array_equal(result, Figure(80, r=34).matte()), index


def test_two_of_like_size_do_not_take_turns() -> None:
    def script(index: int) -> Sequence[Figure]:
        return Figure(60, r=28 + 3 * np.sin(index)), Figure(190, r=28 - 3 * np.sin(index), seed=4)

    for index, result in enumerate(played(Subject(who="largest"), script, 90)):
        assert (shown(result, script(index)[0]) > 0.99, shown(result, script(index)[1])) == (True, 0), index


def test_a_clearly_larger_one_takes_over_after_a_second_and_not_before() -> None:
    def script(index: int) -> Sequence[Figure]:
        return Figure(60, r=26), Figure(190, r=40 if 10 <= index < 30 or index >= 50 else 22, seed=4)

    first = [shown(result, script(index)[0]) > 0.5 for index, result in enumerate(played(Subject(), script, 100))]
    assert first.index(False) in (79, 80, 81), "30 frames after frame 50; twenty frames are not enough"
    assert not any(first[81:])


def test_who_is_chosen_at_a_place_stays_chosen_beside_larger_people() -> None:
    def script(index: int) -> Sequence[Figure]:
        return Figure(60, r=20), Figure(180, r=48, seed=4)

    assert all(shown(result, Figure(60, r=20)) > 0.99 for result in played(Subject(who=(0.25, 0.6)), script, 60))


def test_who_leaves_comes_back_and_strangers_meanwhile_are_not_shown() -> None:
    """Red leaves to the left; blue, who was there, and another blue, who comes, stay out; red comes back."""

    def script(index: int) -> Sequence[Figure]:
        away = min(index, 120) - max(0, min(index - 150, 120))
        mine = Figure(70 - away, r=28, clothes=RED)
        others = [Figure(200, r=24, clothes=BLUE, seed=4)]
        if 80 <= index < 140:
            others.append(Figure(110, r=26, clothes=BLUE, seed=5))
        return mine, *others

    results = played(Subject(who=(0.27, 0.6)), script, 271)
    for index, result in enumerate(results):
        mine, *others = script(index)
        assert all(shown(result, other) == 0 for other in others), index
        if mine.x < -40:
            assert not result.any(), f"nobody is shown in frame {index}"
        if mine.x > 30:
            assert shown(result, mine) > 0.99, f"the subject is back in frame {index}"


def test_when_the_largest_is_lost_nobody_is_shown_for_a_second_and_then_the_next() -> None:
    def script(index: int) -> Sequence[Figure]:
        return [Figure(190, r=24, seed=4), *([Figure(60, r=34)] if index < 20 else [])]

    results = played(Subject(), script, 70)
    seen = [shown(result, Figure(190, r=24)) > 0.5 for result in results]
    assert seen.index(True) in (50, 51, 52)
    assert not results[35].any()


def test_a_network_that_blinks_loses_nobody() -> None:
    subject = Subject(who=(0.25, 0.6))
    people = Figure(60, clothes=GREY), Figure(190, clothes=GREY, seed=4)
    for index in range(30):
        frame = drawn(*people, index=index)
        given = np.zeros_like(matte_of()) if 10 <= index < 14 else matte_of(*people)
        result = subject(frame, regions(frame, given))
        assert isinstance(result, Regions)
        expected = given if 10 <= index < 14 else people[0].matte()
        assert np.array_equal(result.probabilities[0], expected), index


def test_nobody_is_there_at_first_and_the_one_who_comes_is_chosen() -> None:
    subject = Subject(who=(0.5, 0.5))
    assert not asked(subject, 0).any()
    assert np.array_equal(asked(subject, 1, Figure(60)), Figure(60).matte())


def test_another_is_chosen_while_it_runs() -> None:
    subject = Subject(who=(0.2, 0.6))
    people = Figure(60), Figure(190, seed=4)
    for index in range(5):
        asked(subject, index, *people)
    subject.choose((0.75, 0.6))
    assert np.array_equal(asked(subject, 5, *people), people[1].matte())
    subject.choose("all")
    assert np.array_equal(asked(subject, 6, *people), matte_of(*people))
    subject.choose((0.2, 0.6))
    assert np.array_equal(asked(subject, 7, *people), people[0].matte())


def test_a_mirror_does_not_change_who_it_is() -> None:
    def mirrored(figure: Figure) -> Figure:
        return replace(figure, x=256 - figure.x)

    subject = Subject(who=(0.2, 0.6))
    people = Figure(60), Figure(190, seed=4)
    for index in range(5):
        asked(subject, index, *people)
    subject.turn()
    for index in range(5, 8):
        result = asked(subject, index, *map(mirrored, people))
        assert np.array_equal(result, mirrored(people[0]).matte())
    assert subject.who == (0.8, 0.6)


def test_after_a_reset_the_place_chooses_again() -> None:
    subject = Subject(who=(0.2, 0.6))
    asked(subject, 0, Figure(60), Figure(190, seed=4))
    subject.reset()
    assert np.array_equal(asked(subject, 1, Figure(70, clothes=BLUE), Figure(200)), Figure(70).matte())


@pytest.mark.parametrize("size", [(256, 144), (640, 360), (128, 72), (120, 91)])
def test_mattes_of_any_size_keep_theirs(size: tuple[int, int]) -> None:
    import cv2

    people = Figure(60, r=34), Figure(190)
    frame = drawn(*people)
    given = np.asarray(cv2.resize(matte_of(*people), size, interpolation=cv2.INTER_AREA), np.uint8)
    result = Subject()(frame, regions(frame, given))
    assert isinstance(result, Regions)
    assert result.probabilities.shape == (1, *size[::-1])
    half = size[0] // 2
    assert np.abs(result.probabilities[0, :, :half].astype(int) - given[:, :half]).max() <= 1
    assert not result.probabilities[0, :, half:].any()


def test_of_several_regions_only_people_are_chosen_among() -> None:
    people = Figure(60, r=34), Figure(190)
    frame = drawn(*people)
    both = matte_of(*people)
    given = Regions(np.stack([both, both]), ("dog", "person"), frame.pts, frame.size)
    result = Subject()(frame, given)
    assert isinstance(result, Regions)
    assert np.array_equal(result.probabilities[0], both)
    assert np.array_equal(result.probabilities[1], people[0].matte())
    road = Regions(np.stack([both, both]), ("road", "lane"), frame.pts, frame.size)
    assert Subject()(frame, road) is road


def instances(frame: Frame, figures: Sequence[Figure], names: Sequence[str]) -> Instances:
    """What is covered by a later figure is not in a mask."""
    known = ("person", "dog")
    masks = np.stack([figure.matte() for figure in figures])
    for index in range(len(masks)):
        masks[index][masks[index + 1 :].max(axis=0, initial=0) >= 128] = 0
    return Instances(
        masks,
        np.array([[f.x - f.r, f.y - f.r, f.x + f.r, f.y + f.r] for f in figures], np.float32),
        np.array([known.index(name) for name in names]),
        np.full(len(figures), 0.9, np.float32),
        known,
        frame.pts,
        frame.size,
        np.arange(7, 7 + len(figures)),
    )


def test_of_instances_the_subject_and_all_that_are_no_people_are_left_with_their_tracks() -> None:
    subject = Subject(who=(0.75, 0.6))
    for index in range(40):
        people = Figure(60 + 3 * index, r=34), Figure(190 - 3 * index, seed=4), Figure(130, 30, 12)
        frame = drawn(*people, index=index)
        result = subject(frame, instances(frame, people, ["person", "person", "dog"]))
        assert isinstance(result, Instances)
        assert result.track_ids is not None
        assert result.track_ids.tolist() == [8, 9], index
        assert result.boxes.shape == (2, 4)


def test_what_it_cannot_take_apart_passes_as_it_is() -> None:
    frame = drawn(Figure(60))
    given = Semantic(np.zeros((9, 16), np.uint8), ("person",), frame.pts, frame.size)
    assert Subject()(frame, given) is given


@pytest.mark.parametrize("who", ["smallest", (0.5, 1.5), (0.5,), "0.1;0.2", 3])
def test_a_subject_that_is_none_is_told(who: object) -> None:
    with pytest.raises(ConfigError, match="use all, largest, or a place such as"):
        Subject(who=who)  # type: ignore[arg-type]


def hidden(index: int, clothes: tuple[int, int], *, back: bool) -> Sequence[Figure]:
    """A small subject who goes behind a large one, wholly, and comes out on the other side, or where he went in."""
    step = index if not back or index < 60 else 120 - index
    return Figure(40 + 1.5 * step, r=22, clothes=clothes), Figure(130, 84, r=42, clothes=BLUE, seed=4)


@pytest.mark.parametrize("back", [True, False])
def test_who_was_wholly_hidden_is_known_by_the_clothes(back: bool) -> None:
    results = played(Subject(who=(0.15, 0.6)), lambda index: hidden(index, RED, back=back), 120)
    mine, other = hidden(119, RED, back=back)
    assert shown(results[-1], mine) > 0.99
    assert shown(results[-1], other) == 0


def test_a_stranger_who_comes_while_the_subject_is_away_is_not_shown() -> None:
    def script(index: int) -> Sequence[Figure]:
        if index < 100:
            return [Figure(70 - index, clothes=RED)]
        return [Figure(290 - 1.5 * (index - 100), clothes=(150, 150), seed=5)]

    for index, result in enumerate(played(Subject(who=(0.27, 0.6)), script, 200)):
        if index >= 100:
            assert not result.any(), index
