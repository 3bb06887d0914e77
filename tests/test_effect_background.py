"""Backgrounds: what is kept, what is painted over it, and videos that loop behind."""

from __future__ import annotations

import logging
from fractions import Fraction

import numpy as np
import pytest
from fakes import ListSource

from rtseg.compositor import Compositor
from rtseg.effects.background import Background, BackgroundFile, LoopingVideo, parse_background
from rtseg.errors import ConfigError, InferenceFailed, SourceStalled, SourceUnreadable
from rtseg.ops.arrays import U8
from rtseg.types import (
    Blur,
    Clear,
    Colour,
    Frame,
    Instances,
    Keep,
    Panoptic,
    Picture,
    Regions,
    SegmentInfo,
    Semantic,
    Size,
    Solid,
)

SIZE = Size(64, 36)
SUBSAMPLINGS = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}


def grey(
    level: int = 100,
    *,
    size: tuple[int, int] = SIZE,
    pts: int = 0,
    rate: int = 10,
    duration: int = 0,
    colour: Colour | None = None,
    chroma: str = "420",
) -> Frame:
    sx, sy = SUBSAMPLINGS[chroma]
    neutral = np.full((-(-size[1] // sy), -(-size[0] // sx)), 128, np.uint8)
    luma = np.full(size[::-1], level, np.uint8)
    planes = (luma, neutral, neutral)
    return Frame(planes, colour or Colour(), pts=pts, time_base=Fraction(1, rate), duration=duration)


def left_half(level: int = 255) -> U8:
    mask = np.zeros((18, 32), np.uint8)
    mask[:, :16] = level
    return mask


def regions(*masks: U8, names: tuple[str, ...] = ("person",)) -> Regions:
    return Regions(np.stack(masks), names, 0, SIZE)


def only_alpha(background: Background, result: Regions | Semantic | Instances | Panoptic) -> U8:
    (layer,) = background(grey(), result, ())
    assert layer.box is None
    assert isinstance(layer.alpha, np.ndarray)
    return layer.alpha


PERSON = 255 - left_half()


@pytest.mark.parametrize("paint", [Blur(4.0), Solid((1, 2, 3)), Clear()])
def test_everything_but_the_person_gets_the_paint(paint: Blur | Solid | Clear) -> None:
    (layer,) = Background(paint)(grey(), regions(left_half()), ())
    assert layer.paint is paint
    np.testing.assert_array_equal(layer.alpha, PERSON)


def test_nearly_certain_is_certain_and_between_the_matte_is_kept() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None, :]
    alpha = only_alpha(Background(Clear()), regions(ramp))[0].astype(int)
    assert (alpha[:15] == 255).all()  # up to 0.06
    assert (alpha[240:] == 0).all()  # from 0.94
    assert alpha[128] in (126, 127, 128)
    steps = np.diff(alpha[15:241])
    assert set(steps) <= {-2, -1}


def test_with_nobody_in_sight_all_is_painted() -> None:
    nobody = regions(np.zeros((18, 32), np.uint8))
    assert (only_alpha(Background(Blur()), nobody) == 255).all()


def test_with_the_person_everywhere_there_is_no_layer() -> None:
    everywhere = regions(np.full((18, 32), 250, np.uint8))
    assert Background(Blur())(grey(), everywhere, ()) == ()


def test_all_regions_are_kept_unless_some_are_named() -> None:
    top = np.zeros((18, 32), np.uint8)
    top[:9] = 255
    result = regions(left_half(), top, names=("person", "cat"))
    np.testing.assert_array_equal(only_alpha(Background(Blur()), result), 255 - np.maximum(left_half(), top))
    np.testing.assert_array_equal(only_alpha(Background(Blur(), regions=["cat"]), result), 255 - top)
    both = Background(Blur(), regions=["cat", "person"])
    np.testing.assert_array_equal(only_alpha(both, result), 255 - np.maximum(left_half(), top))


def test_of_classes_the_person_is_kept() -> None:
    names = ("sky", "person", "car")
    labels = np.where(left_half() > 0, np.uint8(1), np.uint8(2))
    np.testing.assert_array_equal(only_alpha(Background(Blur()), Semantic(labels, names, 0, SIZE)), PERSON)
    car = only_alpha(Background(Blur(), regions=["car"]), Semantic(labels, names, 0, SIZE))
    np.testing.assert_array_equal(car, left_half())
    sky = only_alpha(Background(Blur(), regions=["sky"]), Semantic(labels.astype(np.uint16), names, 0, SIZE))
    assert (sky == 255).all()


def test_of_instances_all_persons_are_kept() -> None:
    top, other = np.zeros((18, 32), np.uint8), np.full((18, 32), 255, np.uint8)
    top[:9] = 255
    boxes, scores = np.zeros((3, 4), np.float32), np.ones(3, np.float32)
    labels = np.array([0, 1, 0], np.int64)
    result = Instances(np.stack([left_half(), other, top]), boxes, labels, scores, ("person", "dog"), 0, SIZE)
    np.testing.assert_array_equal(only_alpha(Background(Blur()), result), 255 - np.maximum(left_half(), top))
    nothing = np.zeros((0, 18, 32), np.uint8)
    none = Instances(nothing, boxes[:0], labels[:0], scores[:0], ("person", "dog"), 0, SIZE)
    assert only_alpha(Background(Blur()), none).shape == (18, 32)


def test_of_a_panoptic_result_the_persons_are_kept() -> None:
    ids = np.where(left_half() > 0, np.int32(7), np.int32(-1))
    result = Panoptic(ids, (SegmentInfo(7, 1),), ("sky", "person"), 0, SIZE)
    np.testing.assert_array_equal(only_alpha(Background(Blur()), result), PERSON)
    empty = Panoptic(np.full((18, 32), -1, np.int32), (), ("sky", "person"), 0, SIZE)
    assert (only_alpha(Background(Blur()), empty) == 255).all()


def test_a_region_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match="the model has no 'dog': choose from person"):
        Background(Blur(), regions=["dog"])(grey(), regions(left_half()), ())


def test_without_a_person_the_regions_must_be_named() -> None:
    result = Semantic(np.zeros((18, 32), np.uint8), ("road", "sky"), 0, SIZE)
    with pytest.raises(ConfigError, match="no 'person' to keep: name the regions to keep, from road, sky"):
        Background(Blur())(grey(), result, ())


@pytest.mark.parametrize("chroma", SUBSAMPLINGS)
@pytest.mark.parametrize("of", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [SIZE, (640, 480), (33, 71), (65, 37)])
@pytest.mark.parametrize("full_range", [True, False])
def test_a_picture_is_fitted_to_the_frame(chroma: str, of: str, size: tuple[int, int], full_range: bool) -> None:
    frame = grey(chroma=chroma, size=(63, 37))
    picture = grey(255 if full_range else 235, size=size, chroma=of, colour=Colour("bt601", full_range=full_range))
    background = Background(Picture(picture))
    (layer,) = background(frame, regions(left_half()), ())
    assert isinstance(layer.paint, Picture)
    fitted = layer.paint.frame
    assert fitted.colour == frame.colour
    assert [plane.shape for plane in fitted.planes] == [plane.shape for plane in frame.planes]
    assert [set(np.unique(plane)) for plane in fitted.planes] == [{235}, {128}, {128}]
    composed = Compositor()(frame, [layer])
    assert composed.planes[0][10, 0] == 100
    assert composed.planes[0][10, -1] == 235


def test_a_picture_is_fitted_once_for_each_kind_of_frame() -> None:
    background = Background(Picture(grey(200, size=(640, 480))))

    def fitted(frame: Frame) -> Frame:
        (layer,) = background(frame, regions(left_half()), ())
        assert isinstance(layer.paint, Picture)
        return layer.paint.frame

    first = fitted(grey())
    assert fitted(grey(pts=1)) is first
    assert fitted(grey(size=(32, 18))).size == (32, 18)
    assert fitted(grey(chroma="444")).planes[1].shape == (36, 64)
    assert fitted(grey(colour=Colour("bt601"))).colour == Colour("bt601")


def test_a_backdrop_is_asked_for_every_frame_even_for_those_that_do_not_show_it() -> None:
    asked: list[int] = []

    def backdrop(frame: Frame) -> Keep:
        asked.append(frame.pts)
        return Keep()

    background = Background(backdrop)
    (layer,) = background(grey(pts=1), regions(left_half()), ())
    assert isinstance(layer.paint, Keep)
    assert background(grey(pts=2), regions(np.full((18, 32), 255, np.uint8)), ()) == ()
    assert asked == [1, 2]


class Films:
    """Opens a new source of these frames each time it is asked, and remembers them all."""

    def __init__(self, frames: list[Frame], *, live: bool = False, errors: list[Exception | None] | None = None):
        self.opened: list[ListSource] = []
        self._frames, self._live, self._errors = frames, live, errors or []

    def __call__(self) -> ListSource:
        number = len(self.opened)
        error = self._errors[number] if number < len(self._errors) else None
        self.opened.append(ListSource(self._frames, live=self._live, error=error))
        return self.opened[-1]


def film(count: int, *, rate: int = 10, duration: int = 1, start: int = 0) -> list[Frame]:
    """Frames whose level is their number."""
    return [grey(i, pts=start + i, rate=rate, duration=duration) for i in range(count)]


def level(video: LoopingVideo, seconds: Fraction | float) -> int:
    """Which picture of a `film` is shown with a main frame at that time."""
    time = Fraction(seconds).limit_denominator(1000)
    paint = video(grey(pts=time.numerator, rate=time.denominator))
    assert isinstance(paint, Picture)
    assert len(set(np.unique(paint.frame.planes[0]))) == 1
    return int(paint.frame.planes[0][0, 0])


@pytest.mark.parametrize("start", [0, 50, -7])
def test_a_video_is_shown_by_its_time_whatever_the_rates(start: int) -> None:
    video = LoopingVideo(Films(film(5, start=start)))
    assert [level(video, Fraction(i, 20)) for i in range(10)] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_frames_that_fall_between_are_passed_over() -> None:
    video = LoopingVideo(Films(film(30, rate=30)))
    assert [level(video, Fraction(i, 5)) for i in range(5)] == [0, 6, 12, 18, 24]


def test_a_video_starts_over_at_its_end() -> None:
    films = Films(film(3))
    video = LoopingVideo(films)
    assert [level(video, Fraction(i, 10)) for i in range(8)] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert len(films.opened) == 3
    assert [len(source.closed_in) for source in films.opened] == [1, 1, 0]


def test_a_step_longer_than_the_video_lands_at_the_remainder() -> None:
    video = LoopingVideo(Films(film(3)))
    assert level(video, 0) == 0
    assert level(video, 0.8) == 2  # 0.8 s of a video of 0.3 s


def test_the_clock_starts_with_the_first_main_frame() -> None:
    video = LoopingVideo(Films(film(3)))
    assert level(video, 100) == 0
    assert level(video, 100.1) == 1


def test_the_clock_stands_still_while_main_time_goes_back_and_jumps_by_a_second_at_most() -> None:
    video = LoopingVideo(Films(film(40)))
    assert level(video, 5) == 0
    assert level(video, 5.5) == 5
    assert level(video, 1) == 5
    assert level(video, 1.1) == 6
    assert level(video, 500) == 16


def test_without_durations_the_last_picture_lasts_as_long_as_the_one_before() -> None:
    video = LoopingVideo(Films(film(3, duration=0)))
    assert [level(video, Fraction(i, 10)) for i in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_a_video_of_one_picture_is_a_still() -> None:
    films = Films(film(1))
    video = LoopingVideo(films)
    assert [level(video, i) for i in range(4)] == [0, 0, 0, 0]
    assert len(films.opened) == 1


def test_a_picture_of_a_video_is_fitted_to_the_frame_and_kept_while_it_stands() -> None:
    video = LoopingVideo(Films([grey(50, size=(80, 80)), grey(60, size=(80, 80), pts=10)]))
    first, second = video(grey(size=(33, 19), chroma="422")), video(grey(size=(33, 19), chroma="422"))
    assert isinstance(first, Picture)
    assert isinstance(second, Picture)
    assert second.frame is first.frame
    assert [plane.shape for plane in first.frame.planes] == [(19, 33), (19, 17), (19, 17)]


def test_a_live_source_is_refused_and_closed() -> None:
    films = Films(film(3), live=True)
    with pytest.raises(ConfigError, match="must be a file that ends, not the live source 'list'"):
        LoopingVideo(films)
    assert len(films.opened[0].closed_in) == 1


def test_a_video_without_a_frame_is_refused_and_closed() -> None:
    films = Films([])
    with pytest.raises(SourceUnreadable, match="the background video 'list' gave no frame: choose another file"):
        LoopingVideo(films)
    assert len(films.opened[0].closed_in) == 1


def test_a_video_that_fails_at_once_raises_and_is_closed() -> None:
    films = Films([], errors=[SourceUnreadable("no such codec")])
    with pytest.raises(SourceUnreadable, match="no such codec"):
        LoopingVideo(films)
    assert len(films.opened[0].closed_in) == 1


def stands_still(films: Films, expected: list[int], caplog: pytest.LogCaptureFixture) -> str:
    video = LoopingVideo(films)
    with caplog.at_level(logging.WARNING):
        assert [level(video, Fraction(i, 10)) for i in range(len(expected))] == expected
    (record,) = caplog.records
    return record.getMessage()


def test_a_video_that_breaks_in_the_middle_stands_still(caplog: pytest.LogCaptureFixture) -> None:
    films = Films(film(3), errors=[SourceStalled("nothing came")])
    # The third picture was shown when the source broke while looking for a fourth.
    message = stands_still(films, [0, 1, 2, 2, 2, 2], caplog)
    assert message == "the background video stands still: nothing came"


def test_a_video_that_breaks_on_its_second_round_stands_still(caplog: pytest.LogCaptureFixture) -> None:
    films = Films(film(3), errors=[None, SourceStalled("nothing came")])
    stands_still(films, [0, 1, 2, 0, 1, 2, 2, 2], caplog)


def test_a_video_that_cannot_be_opened_again_stands_still(caplog: pytest.LogCaptureFixture) -> None:
    films = Films(film(2))
    opened = iter([films])

    def once() -> ListSource:
        for opener in opened:
            return opener()
        raise SourceUnreadable("it is gone")

    video = LoopingVideo(once)
    with caplog.at_level(logging.WARNING):
        assert [level(video, Fraction(i, 10)) for i in range(5)] == [0, 1, 1, 1, 1]
    assert [record.getMessage() for record in caplog.records] == ["the background video stands still: it is gone"]


def test_a_video_whose_frames_are_all_of_one_time_stands_still(caplog: pytest.LogCaptureFixture) -> None:
    films = Films([grey(i, duration=0) for i in range(3)])
    message = stands_still(films, [2, 2, 2], caplog)
    assert "'list' has no duration, its frames are all of one time" in message


def test_errors_that_are_no_source_errors_are_not_hidden() -> None:
    video = LoopingVideo(Films(film(2), errors=[InferenceFailed("a fault of another kind")]))
    assert level(video, 0) == 0
    with pytest.raises(InferenceFailed, match="another kind"):
        level(video, 0.1)


def test_closing_closes_the_source_and_leaves_the_picture() -> None:
    films = Films(film(5))
    video = LoopingVideo(films)
    assert level(video, 0) == 0
    assert level(video, 0.2) == 2
    video.close()
    assert len(films.opened[0].closed_in) == 1
    assert level(video, 0.3) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("blur", Blur()),
        ("Blur", Blur()),
        ("blur:4", Blur(4.0)),
        ("blur:0.5", Blur(0.5)),
        ("blur:10", Blur(10.0)),
        (" blur: 3 ", Blur(3.0)),
        ("none", None),
        ("None", None),
        ("transparent", Clear()),
        ("#00b140", Solid((0, 177, 64))),
        ("#fff", Solid((255, 255, 255))),
        ("Green", Solid((0, 128, 0))),
        ("beach.jpg", BackgroundFile("beach.jpg", "picture")),
        ("beach.PNG", BackgroundFile("beach.PNG", "picture")),
        ("./green", BackgroundFile("./green", "video")),
        ("clips/office.mp4", BackgroundFile("clips/office.mp4", "video")),
        ("C:\\pictures\\beach.webp", BackgroundFile("C:\\pictures\\beach.webp", "picture")),
        ("https://example.org/a.mp4", BackgroundFile("https://example.org/a.mp4", "video")),
        ("blur.png", BackgroundFile("blur.png", "picture")),
    ],
)
def test_every_form_of_a_background_is_read(text: str, expected: object) -> None:
    assert parse_background(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blur:0.4", "blur strength '0.4' must be a number from 0.5 to 10: try blur:2.5"),
        ("blur:11", "blur strength '11' must be a number from 0.5 to 10"),
        ("blur:nan", "blur strength 'nan' must be a number"),
        ("blur:", "blur strength '' must be a number"),
        ("blur:strong", "blur strength 'strong' must be a number"),
        ("#12345", "'#12345' is no colour: write #rrggbb or one of"),
        (
            "beach",
            r"unknown background 'beach': use blur, .*transparent, none \(write ./beach for a file of that name\)",
        ),
        ("", "unknown background ''"),
        ("none:2", "unknown background 'none:2'"),
        ("transparent:1", "unknown background 'transparent:1'"),
    ],
)
def test_what_is_no_background_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_background(text)
