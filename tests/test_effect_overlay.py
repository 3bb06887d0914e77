"""Tints and legends: the right colour in the right place, and text that can be read."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.compositor import Compositor
from rtseg.effects.legend import Legend
from rtseg.effects.overlay import ROAD, Overlay, parse_overlay
from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.ops.palette import RGB, palette_for
from rtseg.types import Colour, Frame, Layer, Picture, Regions, Semantic, Size, Solid, Tints

SIZE = Size(640, 360)
CLASSES = ("road", "sky", "person", "car")


def even(level: int = 120, size: tuple[int, int] = SIZE, colour: Colour | None = None) -> Frame:
    width, height = size
    neutral = np.full((-(-height // 2), -(-width // 2)), 128, np.uint8)
    return Frame((np.full((height, width), level, np.uint8), neutral, neutral), colour or Colour(full_range=True))


def quarters() -> Semantic:
    """Road, sky, person and car in the four quarters, row by row."""
    labels = np.array([[0, 1], [2, 3]], np.uint8).repeat(45, axis=0).repeat(80, axis=1)
    return Semantic(labels, CLASSES, 0, SIZE)


def soft(*masks: U8, names: tuple[str, ...]) -> Regions:
    return Regions(np.stack(masks), names, 0, SIZE)


def solids(layers: object) -> list[tuple[RGB, U8]]:
    assert isinstance(layers, list)
    found = []
    for layer in layers:
        if isinstance(layer.paint, Solid):
            assert isinstance(layer.alpha, np.ndarray)
            found.append((layer.paint.rgb, layer.alpha))
    return found


def shown(overlay: Overlay, result: Semantic) -> dict[str, RGB]:
    """Names that are tinted, each with its colour: read off a grey frame, in which a tint of 45 % can be undone."""
    frame = even()
    layers = [layer for layer in overlay(frame, result, ()) if layer.box is None]
    rgb = Compositor()(frame, layers).rgb.astype(float)
    found: dict[str, RGB] = {}
    for index, name in enumerate(CLASSES):
        if (result.labels == index).any():
            y, x = np.argwhere(result.labels == index).mean(axis=0) * SIZE.height / result.labels.shape[0]
            pixel = rgb[int(y), int(x)]
            if np.abs(pixel - 120).max() > 3:
                r, g, b = ((pixel - 120) / 0.45 + 120).tolist()
                found[name] = (round(r), round(g), round(b))
    return found


def alike(found: dict[str, RGB], wanted: dict[str, RGB]) -> None:
    """Levels of planes are up to 5 in RGB, and of 45 % twice that."""
    assert list(found) == list(wanted)
    for name, rgb in wanted.items():
        assert np.abs(np.array(found[name]) - rgb).max() <= 11


RAMP = np.arange(256, dtype=np.uint8)[None, :]


def test_each_class_is_tinted_in_its_colour_and_place() -> None:
    frame = even()
    layers = Overlay(legend=False)(frame, quarters(), ())
    rgb = Compositor()(frame, layers).rgb.astype(float)
    colours = palette_for(CLASSES)
    for name, (y, x) in zip(CLASSES, ((90, 160), (90, 480), (270, 160), (270, 480)), strict=True):
        expected = 120 + 0.45 * (np.array(colours[name]) - 120)
        # Two levels a plane, and what their sum in RGB can be.
        assert np.abs(rgb[y - 60 : y + 60, x - 120 : x + 120] - expected).max() <= 5


def test_all_classes_are_one_layer_and_lines_lie_on_it() -> None:
    alike(shown(Overlay(legend=False), quarters()), palette_for(CLASSES))
    (layer,) = Overlay(legend=False)(even(), quarters(), ())
    assert isinstance(layer.paint, Tints)
    area, line = Overlay(lines=["sky"], legend=False)(even(), quarters(), ())
    assert isinstance(area.paint, Tints)
    assert line.paint == Solid(palette_for(CLASSES)["sky"])


def test_a_class_that_is_not_in_the_picture_costs_no_layer() -> None:
    nothing = Semantic(np.full((45, 80), 255, np.uint8), CLASSES, 0, SIZE)
    assert Overlay(legend=False)(even(), nothing, ()) == []
    assert Overlay(lines=["car"], names=["car"], legend=False)(even(), nothing, ()) == []


def test_showing_fewer_does_not_change_their_colours() -> None:
    names = ("road", "sky", "person", "car", "truck", "bus", "rider")
    assert palette_for(["rider"])["rider"] != palette_for(names)["rider"]  # or this proves nothing
    rider = soft(RAMP, names=names[-1:])
    rider = Regions(np.repeat(rider.probabilities, 7, axis=0), names, 0, SIZE)
    ((rgb, _),) = solids(Overlay(names=["rider"], legend=False)(even(), rider, ()))
    assert rgb == palette_for(names)["rider"]


def test_given_colours_are_used_and_the_rest_is_stable() -> None:
    overlay = Overlay(palette={"sky": "#102030", "car": (1, 2, 3)}, legend=False)
    alike(shown(overlay, quarters()), {**palette_for(CLASSES), "sky": (16, 32, 48), "car": (1, 2, 3)})


@pytest.mark.parametrize("opacity", [0.0, 0.45, 1.0])
def test_opacity_is_what_a_certain_pixel_gets(opacity: float) -> None:
    ((_, alpha),) = solids(Overlay(opacity=opacity, legend=False)(even(), soft(RAMP, names=("road",)), ()))
    assert (alpha[0, :77] == 0).all()  # up to 0.3
    assert (alpha[0, 179:] == round(255 * opacity)).all()  # from 0.7
    assert alpha[0, 127:129].mean() == pytest.approx(255 * opacity / 2, abs=2)
    assert (np.diff(alpha[0].astype(int)) >= 0).all()


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_an_opacity_out_of_range_is_refused(opacity: float) -> None:
    with pytest.raises(ConfigError, match="opacity must be from 0 to 1, not"):
        Overlay(opacity=opacity)


def test_lines_are_steep_nearly_opaque_and_taken_at_twice_the_size() -> None:
    masks = soft(RAMP, RAMP, names=("drivable", "lane"))
    area, line = (alpha for _, alpha in solids(Overlay(lines=["lane"], legend=False)(even(), masks, ())))
    assert area.shape == (1, 256)
    assert line.shape == (2, 512)
    assert (line[:, :300] == 0).all()  # up to 0.6
    assert (line[:, 440:] == round(255 * 0.9)).all()  # from 0.85
    large = np.full((360, 640), 255, np.uint8)
    ((_, kept),) = solids(Overlay(lines=["lane"], legend=False)(even(), soft(large, names=("lane",)), ()))
    assert kept.shape == (360, 640)


def test_names_that_the_model_lacks_are_refused() -> None:
    with pytest.raises(ConfigError, match="the model has no 'tram', 'dog': choose from road, sky, person, car"):
        Overlay(names=["tram", "car", "dog"])(even(), quarters(), ())


def test_names_that_the_model_lacks_are_left_out_when_that_is_asked_for() -> None:
    overlay = Overlay(names=["tram", "car"], partial=True, legend=False)
    alike(shown(overlay, quarters()), {"car": palette_for(CLASSES)["car"]})
    with pytest.raises(ConfigError, match="the model knows nothing that this overlay shows: choose from road, sky"):
        Overlay(names=["tram"], partial=True)(even(), quarters(), ())


def test_another_model_on_the_same_overlay_gets_its_own_colours() -> None:
    overlay = Overlay(legend=False)
    overlay(even(), quarters(), ())
    ((rgb, _),) = solids(overlay(even(), soft(RAMP, names=("lane",)), ()))
    assert rgb == palette_for(("lane",))["lane"]


def test_the_road_preset_shows_roads_lanes_vehicles_and_people() -> None:
    masks = soft(RAMP, RAMP, RAMP, names=("lane", "drivable", "vehicle"))
    found = solids(Overlay.road(legend=False)(even(), masks, ()))
    assert [rgb for rgb, _ in found] == [ROAD["drivable"], ROAD["lane"], ROAD["vehicle"]]
    assert [alpha.shape[1] for _, alpha in found] == [256, 512, 256]
    with pytest.raises(ConfigError, match="knows nothing that this overlay shows"):
        Overlay.road()(even(), soft(RAMP, names=("hair",)), ())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("all", CLASSES),
        (" all ", CLASSES),
        ("car", ("car",)),
        ("car, sky,", ("car", "sky")),
        ("road", ("road", "car", "person")),
    ],
)
def test_every_form_of_an_overlay_is_read(text: str, names: tuple[str, ...]) -> None:
    result = quarters()
    layers = parse_overlay(text)(even(), result, ())
    colours = ROAD if text == "road" else palette_for(CLASSES)
    found = shown(parse_overlay(text), result)
    assert set(found) == set(names)
    if text != "road":  # which has another opacity
        alike(found, {name: colours[name] for name in CLASSES if name in names})
    assert isinstance(layers[-1].paint, Picture)


def test_an_overlay_takes_a_palette_with_its_names() -> None:
    alike(shown(parse_overlay("sky", palette={"sky": "#010203"}), quarters()), {"sky": (1, 2, 3)})


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_an_overlay_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="names nothing: use road, all, or names with commas between"):
        parse_overlay(text)


SWATCHES: dict[str, RGB] = {"drivable": (0, 190, 130), "lane": (255, 225, 40), "vehicle": (240, 85, 20)}


def legend_of(frame: Frame, swatches: dict[str, RGB] | None = None) -> Layer:
    layer = Legend()(frame, SWATCHES if swatches is None else swatches)
    assert layer is not None
    assert layer.box is not None
    return layer


@pytest.mark.parametrize("size", [(640, 360), (1920, 1080), (641, 361), (320, 180)])
@pytest.mark.parametrize("chroma", ["420", "422", "444"])
def test_the_legend_lies_in_the_corner_on_whole_chroma_samples(size: tuple[int, int], chroma: str) -> None:
    width, height = size
    sx, sy = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}[chroma]
    neutral = np.full((-(-height // sy), -(-width // sx)), 128, np.uint8)
    frame = Frame((np.full((height, width), 120, np.uint8), neutral, neutral))
    layer = legend_of(frame)
    assert layer.box is not None
    x0, y0, x1, y1 = layer.box
    assert 0 < x0 == y0 < 0.05 * height + 8
    assert x1 < width
    assert y1 < height
    assert all(edge % 2 == 0 for edge in layer.box)
    composed = Compositor()(frame, [layer])  # refuses a picture that does not fit its box
    np.testing.assert_array_equal(composed.planes[0][:, x1:], frame.planes[0][:, x1:])
    assert (composed.planes[0][y0:y1, x0:x1] != 120).mean() > 0.9


def luminance(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative luminance as WCAG 2 defines it, of sRGB 0..255."""
    c = rgb / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_letters_stand_out_from_their_ground_over_any_picture(level: int) -> None:
    frame = even(level, (1280, 720))
    layer = legend_of(frame)
    assert layer.box is not None
    x0, y0, x1, y1 = layer.box
    box = luminance(Compositor()(frame, [layer]).rgb[y0:y1, x0:x1].astype(float))
    ink, ground = np.percentile(box, 99.5), np.median(box)
    assert (ink + 0.05) / (ground + 0.05) >= 4.5  # WCAG 2.2, 1.4.3: contrast of text
    assert ink > 0.9


def test_each_swatch_shows_its_colour() -> None:
    frame = even(200, (1280, 720))
    layer = legend_of(frame)
    assert layer.box is not None
    x0, y0, x1, y1 = layer.box
    box = Compositor()(frame, [layer]).rgb[y0:y1, x0:x1].astype(int)
    found_at = []
    for rgb in SWATCHES.values():
        close = np.abs(box - np.array(rgb)).max(axis=-1) <= 6
        assert close.sum() > 60
        rows = np.flatnonzero(close.any(axis=1))
        found_at.append(float(rows.mean()))
    assert found_at == sorted(found_at)


def test_the_legend_is_drawn_once_for_frames_alike() -> None:
    legend = Legend()
    first = legend(even(10), SWATCHES)
    assert legend(even(20), dict(SWATCHES)) is first
    assert legend(even(10, (1280, 720)), SWATCHES) is not first
    assert legend(even(10, colour=Colour("bt601")), SWATCHES) is not first
    assert legend(even(10), {"lane": (1, 2, 3)}) is not first


def test_many_names_stand_in_columns_of_eight_and_more_than_24_are_counted() -> None:
    frame = even(size=(1920, 1080))
    heights, widths = {}, {}
    for count in (1, 8, 9, 16, 24, 25, 40):
        layer = legend_of(frame, {f"name {i:02}": (i, 200, 0) for i in range(count)})
        assert layer.box is not None
        x0, y0, x1, y1 = layer.box
        widths[count], heights[count] = x1 - x0, y1 - y0
    assert heights[1] < heights[8] == heights[9] == heights[16] == heights[24] == heights[25]
    assert widths[1] <= widths[8] < widths[9] <= widths[16] < widths[24] < widths[25] <= widths[40]
    assert widths[8] < 1.1 * widths[1]


def test_long_names_are_cut() -> None:
    frame = even(size=(1920, 1080))
    boxes = [legend_of(frame, {"x" * n: (1, 2, 3)}).box for n in (22, 23, 500)]
    assert boxes[1] == boxes[2]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[1][2] <= 1.1 * boxes[0][2]


def test_a_legend_that_does_not_fit_gets_smaller_and_then_is_left_out() -> None:
    many: dict[str, RGB] = {f"a rather long name {i}": (i, 0, 0) for i in range(16)}
    for size in ((1280, 720), (640, 360), (480, 270), (320, 180), (160, 90), (32, 18), (1, 1)):
        layer = Legend()(even(size=size), many)
        if layer is None:
            assert size[0] <= 480
        else:
            assert layer.box is not None
            assert layer.box[2] <= size[0]
            assert layer.box[3] <= size[1]
    assert Legend()(even(size=(32, 18)), SWATCHES) is None


def test_no_names_no_legend() -> None:
    assert Legend()(even(), {}) is None
