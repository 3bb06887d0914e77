"""The subject's edge before a new background: each option against its formula in float64, and what it leaves alone."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg import store
from rtseg.compositor import Compositor
from rtseg.effects.background import Background, parse_background
from rtseg.effects.edges import Edges
from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.ops.colour import rgb_to_yuv
from rtseg.ops.resize import enlarge, resize
from rtseg.ops.soften import feather, soften
from rtseg.types import Blur, Clear, Colour, Frame, Layer, Paint, Picture, Regions, Size, Solid, Tints

F64 = NDArray[np.float64]
SIZE = Size(640, 360)
SHAPES = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}
GREEN = Solid((0, 177, 64))
EVERY: list[dict[str, Any]] = [
    {"decontaminate": True},
    {"feather": 1.0},
    {"feather": -1.0},
    {"light_wrap": 0.8},
    {"shadow": 0.5},
    {"decontaminate": True, "feather": 0.5, "light_wrap": 0.5, "shadow": 0.5},
]


def planes(chroma: str, seed: int) -> tuple[U8, U8, U8]:
    chance = np.random.default_rng(seed)
    sx, sy = SHAPES[chroma]

    def one(width: int, height: int) -> U8:
        coarse = chance.integers(40, 220, (height // 30, width // 30)).astype(np.uint8)
        return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)

    return one(640, 360), one(640 // sx, 360 // sy), one(640 // sx, 360 // sy)


def frame(chroma: str = "420", seed: int = 1) -> Frame:
    return Frame(planes(chroma, seed), Colour())


def matte() -> U8:
    """A round subject that ends well inside the frame, 320x180."""
    y, x = np.mgrid[:180, :320] + 0.5
    inside = (45 - np.hypot(x - 160, y - 90)) / 6
    return np.asarray(np.rint(255 * np.clip(0.5 + inside, 0, 1)), dtype=np.uint8)


def regions(mask: U8) -> Regions:
    return Regions(mask[None], ("person",), 0, SIZE)


def layers_of(paint: Paint, on: Frame | None = None, **options: Any) -> list[Layer]:
    assert isinstance(paint, Blur | Solid | Clear | Picture)
    return list(Background(paint, **options)(on or frame(), regions(matte()), ()))


def alpha_of(layer: Layer) -> U8:
    assert isinstance(layer.alpha, np.ndarray)
    return layer.alpha


def over(base: F64, paint: U8 | int, alpha: U8) -> F64:
    """One layer over a plane in float64, what is small enlarged bilinearly."""
    height, width = base.shape
    a = cv2.resize(alpha.astype(np.float64), (width, height), interpolation=cv2.INTER_LINEAR) / 255
    p = paint if isinstance(paint, int) else cv2.resize(paint.astype(np.float64), (width, height))
    return np.asarray(base + (p - base) * a)


@pytest.mark.usefixtures("either_loops")
@pytest.mark.parametrize("chroma", SHAPES)
@pytest.mark.parametrize("options", EVERY, ids=str)
def test_composites_are_within_two_levels_of_float64(chroma: str, options: dict[str, Any]) -> None:
    on, behind = frame(chroma), frame(chroma, seed=2)
    layers = layers_of(Picture(behind), on, **options)
    expected = [plane.astype(np.float64) for plane in on.planes]
    for layer in layers:
        match layer.paint:
            case Picture():
                paints: tuple[U8 | int, ...] = layer.paint.frame.planes
            case Tints():
                paints = layer.paint.planes
            case Solid():
                paints = rgb_to_yuv(layer.paint.rgb, on.colour)
            case _:
                pytest.fail(f"no layer of {layer.paint}")
        expected = [over(base, paint, alpha_of(layer)) for base, paint in zip(expected, paints, strict=True)]
    out = Compositor()(on, layers)
    for plane, wanted in zip(out.planes, expected, strict=True):
        # Each of up to four layers is rounded by itself: two levels are the first's, and half a level each of others.
        assert np.abs(plane - wanted).max() <= 2 + 0.5 * (len(layers) - 1)


@pytest.mark.usefixtures("either_loops")
@pytest.mark.parametrize("chroma", SHAPES)
@pytest.mark.parametrize("options", EVERY, ids=str)
def test_far_inside_and_far_outside_nothing_but_the_paint_changes(chroma: str, options: dict[str, Any]) -> None:
    on = frame(chroma)
    out = Compositor()(on, layers_of(GREEN, on, **options))
    for plane, before, level in zip(out.planes, on.planes, rgb_to_yuv(GREEN.rgb, on.colour), strict=True):
        height, width = plane.shape
        middle = (slice(height * 9 // 20, height * 11 // 20), slice(width * 9 // 20, width * 11 // 20))
        np.testing.assert_array_equal(plane[middle], before[middle])
        corner = (slice(0, height // 10), slice(0, width // 10))
        assert (plane[corner] == level).all()


def test_without_options_there_is_the_one_layer_of_before() -> None:
    (layer,) = layers_of(GREEN)
    (same,) = layers_of(GREEN, light_wrap_width=8.0, decontaminate=False, feather=0.0, shadow=0.0)
    np.testing.assert_array_equal(alpha_of(layer), alpha_of(same))


@pytest.mark.parametrize("width", [1.0, -1.0])
def test_the_feather_is_in_percent_of_the_height(width: float) -> None:
    (plain,), (soft,) = layers_of(GREEN), layers_of(GREEN, feather=width)
    np.testing.assert_array_equal(alpha_of(soft), feather(alpha_of(plain), -width * 1.8))
    assert (alpha_of(soft).mean() < alpha_of(plain).mean()) == (width > 0)


def test_what_a_feather_adds_is_of_the_subjects_colour() -> None:
    inside = enlarge(matte(), (640, 360)) / 255.0
    luma = np.rint(60 + 60 * inside).astype(np.uint8)
    grey = np.full((180, 320), 128, np.uint8)
    on = Frame((luma, grey, grey), Colour())
    out = Compositor()(on, layers_of(Solid((255, 255, 255)), on, feather=1.0, decontaminate=True)[:1]).planes[0]
    alpha = enlarge(feather(matte(), 1.8), (640, 360))
    assert np.abs(out[alpha > 20].astype(int) - 120).max() <= 10  # of 60
    assert np.abs(luma[alpha > 20].astype(int) - 120).max() > 50


def test_nobody_is_shown_by_a_feather() -> None:
    nobody = regions(np.zeros((180, 320), np.uint8))
    for options in EVERY:
        layers = Background(GREEN, **options)(frame(), nobody, ())
        assert any(layer.paint is GREEN and (alpha_of(layer) == 255).all() for layer in layers)


def test_the_shadow_is_the_subject_moved_and_softened_where_background_is() -> None:
    background, shadow = layers_of(GREEN, shadow=0.5)
    assert shadow.paint == Solid((0, 0, 0))
    b = alpha_of(background)
    moved = np.full_like(b, 255)
    moved[4:, 3:] = b[:-4, :-3]  # 2 and 1.5 % of 180 rows
    expected = 0.5 * (255.0 - soften(moved, 3.6)) * b / 255
    assert np.abs(alpha_of(shadow) - expected).max() <= 1
    right, left = alpha_of(shadow)[90, 205:215].mean(), alpha_of(shadow)[90, 105:115].mean()
    assert right > 2 * left > 0


def test_light_falls_on_the_rim_as_bright_as_what_is_behind() -> None:
    white, black = (layers_of(Solid((level,) * 3), light_wrap=0.8)[1] for level in (255, 0))
    assert white.paint == Solid((255, 255, 255))
    assert not alpha_of(black).any()
    rim = alpha_of(white)
    b = 255 - matte()
    inside = resize(b, (320, 180)) == 0
    assert not rim[b == 255].any()
    assert rim[90, 112:122].max() > 25
    assert rim[90, 160] == 0
    assert rim[inside].max() < 0.4 * 255


@pytest.mark.parametrize("full_range", [False, True])
def test_white_is_white_in_every_range(full_range: bool) -> None:
    on = Frame(planes("420", 1), Colour(full_range=full_range))
    rim = layers_of(Solid((255, 255, 255)), on, light_wrap=1.0)[1]
    near = soften(alpha_of(layers_of(GREEN)[0]), 2.7).astype(np.float64)
    expected = near * (255.0 - alpha_of(layers_of(GREEN)[0])) / 255
    assert np.abs(alpha_of(rim) - expected).max() <= 2


def test_a_pictures_light_is_blurred_once() -> None:
    background = Background(Picture(frame(seed=2)), light_wrap=0.5)
    lights = []
    for _ in range(2):
        paint = background(frame(), regions(matte()), ())[1].paint
        assert isinstance(paint, Tints)
        lights.append(paint.planes[0])
    assert lights[0] is lights[1]
    wanted = cv2.GaussianBlur(frame(seed=2).planes[0].astype(np.float64), (0, 0), 0.03 * 360)
    inner = (slice(40, -40), slice(40, -40))
    assert np.abs(enlarge(lights[0], (640, 360)) - wanted)[inner].max() <= 3


@pytest.mark.parametrize("options", [{"light_wrap": 0.5}, {"shadow": 0.5}], ids=str)
def test_a_transparent_background_has_no_light(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="neither light nor shadow"):
        Background(Clear(), **options)


def test_a_blurred_room_lights_nobody_anew() -> None:
    with pytest.raises(ConfigError, match="on the subject already"):
        Background(Blur(), light_wrap=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feather": 11.0}, "feather = 11.0 must be a number from -10 to 10"),
        ({"light_wrap": 1.5}, "light_wrap = 1.5 must"),
        ({"light_wrap_width": 0.1}, "light_wrap_width = 0.1 must"),
        ({"shadow": float("nan")}, "shadow = nan must"),
    ],
)
def test_values_beyond_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Edges(**options)


@pytest.mark.parametrize("options", EVERY, ids=str)
def test_no_graph_has_them(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cannot be fused"):
        Background(GREEN, **options).graph_layers(store.find_card("portrait"))


@pytest.mark.parametrize("lens", ["disc", "depth"])
def test_no_graph_has_a_lens(lens: Any) -> None:
    with pytest.raises(ConfigError, match="bokeh cannot be fused"):
        Background(Blur(2.5, lens)).graph_layers(store.find_card("portrait"))


@pytest.mark.parametrize(
    ("text", "paint"),
    [
        ("bokeh", Blur(2.5, "disc")),
        ("bokeh:4", Blur(4.0, "disc")),
        ("Bokeh-Depth:0.5", Blur(0.5, "depth")),
        ("bokeh-depth", Blur(2.5, "depth")),
        ("blur:4", Blur(4.0)),
    ],
)
def test_a_lens_is_asked_for_by_name(text: str, paint: Blur) -> None:
    assert parse_background(text) == paint


@pytest.mark.parametrize("text", ["bokeh:", "bokeh:20", "bokeh-depth:x"])
def test_a_lens_of_no_strength_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"must be a number from 0\.5 to 10"):
        parse_background(text)


@pytest.mark.usefixtures("either_loops")
@pytest.mark.parametrize("chroma", SHAPES)
@pytest.mark.parametrize("lens", ["disc", "depth"])
def test_the_subject_before_bokeh_is_the_frames_bit_for_bit(lens: Any, chroma: str) -> None:
    on = frame(chroma)
    out = Compositor()(on, layers_of(Blur(2.5, lens), on))
    for plane, before in zip(out.planes, on.planes, strict=True):
        height, width = plane.shape
        middle = (slice(height * 4 // 10, height * 6 // 10), slice(width * 4 // 10, width * 6 // 10))
        np.testing.assert_array_equal(plane[middle], before[middle])
        assert np.abs(plane[: height // 10].astype(int) - before[: height // 10]).mean() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("lens", ["gaussian", "disc"])
def test_a_strong_blur_costs_what_a_weak_one_does(lens: Any) -> None:
    on = frame()
    luma, u, v = (np.repeat(np.repeat(plane, 2, axis=0), 2, axis=1) for plane in on.planes)
    compositor = Compositor()

    def spent(strength: float) -> float:
        large = Frame((luma, u, v), Colour())
        layers = [Layer(255 - matte(), Blur(strength, lens))]
        start = time.thread_time()
        compositor(large, layers)
        return time.thread_time() - start

    spent(1.0), spent(8.0)
    pairs = [(spent(1.0), spent(8.0)) for _ in range(15)]
    assert np.median([strong for _, strong in pairs]) < 1.3 * np.median([weak for weak, _ in pairs])
