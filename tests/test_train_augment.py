"""Geometry and composition: labels move with the picture, and the same chance gives the same sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.random import Generator
from trained import square, write_set

from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.ops.resize import shrink
from rtseg.train import sensor as sensors
from rtseg.train import weather as weathers
from rtseg.train.augment import Scene, before, beside, view
from rtseg.train.backgrounds import Backgrounds, at_most, paint_over
from rtseg.train.recipe import AugmentOptions, BackgroundOptions

STILL = AugmentOptions(flip=0.0, rotate=0.0, zoom=(1.0, 1.0))


def scene(*, at: tuple[int, int] = (30, 20), side: int = 30) -> Scene:
    rgb, mask = square(at=at, side=side)
    return Scene(rgb, mask[None], np.full_like(mask[None], 255))


def same(first: Scene | U8, second: Scene | U8) -> bool:
    if isinstance(first, Scene) and isinstance(second, Scene):
        return all(same(getattr(first, part), getattr(second, part)) for part in ("rgb", "planes", "known"))
    return np.array_equal(first, second)  # type: ignore[arg-type]


def test_a_view_of_everything_is_the_picture() -> None:
    whole = scene()
    assert same(view(whole, (96, 72), np.random.default_rng(1), STILL, person=False), whole)


def test_a_smaller_view_is_averaged_first() -> None:
    whole = scene()
    found = view(whole, (48, 36), np.random.default_rng(1), STILL, person=False)
    assert np.array_equal(found.rgb, cv2.resize(whole.rgb, (48, 36), interpolation=cv2.INTER_AREA))
    assert np.array_equal(found.planes[0], cv2.resize(whole.planes[0], (48, 36), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("size", [(410, 230), (480, 270), (900, 520), (300, 640)])
def test_a_network_is_trained_on_what_the_engine_gives_it(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    nothing = np.zeros((1, size[1], size[0]), np.uint8)
    found = view(Scene(noise, nothing, nothing), (256, 144), np.random.default_rng(0), STILL, person=False)
    expected = np.stack([shrink(np.ascontiguousarray(noise[..., c]), (256, 144)) for c in range(3)], axis=-1)
    # OpenCV places a warp's samples on a 32nd of a pixel, some levels of noise; a softer picture differs by 20.
    assert np.abs(found.rgb.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("person", [False, True])
@pytest.mark.parametrize("size", [(64, 48), (160, 96)])
def test_the_mask_stays_on_the_square_wherever_it_goes(person: bool, size: tuple[int, int]) -> None:
    options = AugmentOptions(flip=0.5, rotate=30.0, zoom=(0.4, 1.0), upper=0.5)
    areas = set()
    for seed in range(30):
        found = view(scene(), size, np.random.default_rng(seed), options, person=person)
        assert found.rgb.shape[:2] == found.planes.shape[1:] == found.known.shape[1:] == size[::-1]
        mask, red = found.planes[0], found.rgb[..., 0]
        assert (red[mask == 255] >= 220).all()
        assert (red[mask == 0] < 70).all()
        areas.add(int((mask > 127).sum()))
    assert len(areas) > 20


def test_what_lies_outside_the_picture_is_unknown() -> None:
    options = AugmentOptions(flip=0.0, rotate=45.0, zoom=(1.0, 1.0))
    unknown = []
    for seed in range(8):
        found = view(scene(), (96, 72), np.random.default_rng(seed), options, person=False)
        assert found.known[0, 36, 48] == 255
        assert found.known.shape == found.planes.shape
        unknown.append(float((found.known == 0).mean()))
    assert max(unknown) > 0.05
    assert same(found, view(scene(), (96, 72), np.random.default_rng(7), options, person=False))


def test_what_was_unknown_stays_unknown() -> None:
    whole = scene()
    whole.known[:, :, :48] = 0
    found = view(whole, (48, 36), np.random.default_rng(1), STILL, person=False)
    assert (found.known[0, :, :24] == 0).all()
    assert (found.known[0, :, 24:] == 255).all()


def test_labels_are_what_is_seen_of_a_subject_before_another_picture() -> None:
    subject = scene()
    subject.rgb[:] = 255
    ground = np.full_like(subject.rgb, 100)
    for seed in range(8):
        found = before(subject, ground, np.random.default_rng(seed))
        assert (found.known == 255).all()
        assert found.rgb[0, 0].tolist() == [100] * 3
        # White before grey: how far a pixel is on the way from one to the other is the label, within rounding.
        seen = (found.rgb[..., 0].astype(float) - 100) / (found.rgb.max() - 100)
        np.testing.assert_allclose(found.planes[0] / 255, seen, atol=0.03)


def test_a_second_subject_is_labelled_too_and_hides_or_is_hidden() -> None:
    first, other = scene(at=(60, 30)), scene(at=(33, 21))
    other.rgb[:] = 255
    grown = 0
    for seed in range(12):
        found = beside(first, other, np.random.default_rng(seed))
        assert (found.planes >= first.planes).all()
        new = (found.planes[0] == 255) & (first.planes[0] == 0)
        assert (found.rgb[new] == 255).all()
        grown += int(new.any())
    assert grown > 6


def gradient() -> U8:
    ramp = np.linspace(30, 220, 96).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (64, 96, 3)))


SPOILERS: list[Callable[[U8, Generator], U8]] = [
    sensors.sensor, sensors.expose, sensors.soften, sensors.noise, sensors.compress, sensors.mistake_range,
    weathers.weather, weathers.rain, weathers.dusk, weathers.night, weathers.glare, weathers.dirt, weathers.shade,
    weathers.reflection,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_what_spoils_a_picture_does_it_by_chance_alone(spoil: Callable[[U8, Generator], U8]) -> None:
    original = gradient()
    changed = 0
    for seed in range(6):
        found = spoil(original, np.random.default_rng(seed))
        assert found.dtype == np.uint8
        assert found.shape == original.shape
        assert np.array_equal(found, spoil(original, np.random.default_rng(seed)))
        changed += int(not np.array_equal(found, original))
    assert changed >= 3
    assert np.array_equal(original, gradient())


def test_night_and_dusk_are_darker_and_glare_is_brighter() -> None:
    picture = gradient()
    for seed in range(5):
        assert weathers.dusk(picture, np.random.default_rng(seed)).mean() < picture.mean()
        assert weathers.night(picture, np.random.default_rng(seed)).mean() < picture.mean()
        assert weathers.glare(picture, np.random.default_rng(seed)).mean() > picture.mean()


def test_bonnets_belong_to_no_region_and_wipers_hide_what_nobody_knows() -> None:
    road = np.full((2, 64, 96), 255, np.uint8)
    seen = set()
    for seed in range(40):
        whole = Scene(gradient(), road.copy(), road.copy())
        found = weathers.cabin(whole, np.random.default_rng(seed))
        assert same(whole, Scene(gradient(), road, road))
        assert set(np.unique(found.planes)) <= {0, 255}
        if (found.planes == 0).any():
            seen.add("bonnet")
            assert (found.planes[0] == found.planes[1]).all()
        if (found.known == 0).any():
            seen.add("wiper")
        assert same(found, weathers.cabin(whole, np.random.default_rng(seed)))
    assert seen == {"bonnet", "wiper"}


def test_backgrounds_are_those_without_the_subject_that_are_not_held_back(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", value=2)
    pictures = Backgrounds([BackgroundOptions(folder=folder)])
    drawn = {pictures.draw(np.random.default_rng(seed)).tobytes() for seed in range(40)}
    assert len(drawn) == 3  # "c" is held back
    with pytest.raises(ConfigError, match=r"name folders in augment\.backgrounds"):
        Backgrounds([BackgroundOptions(folder=folder, absent=(2,))])
    cv2.imwrite(str(folder / "masks" / "a.png"), np.zeros((72, 96), np.uint8))
    only = Backgrounds([BackgroundOptions(folder=folder, absent=(2,))])
    assert len({only.draw(np.random.default_rng(seed)).tobytes() for seed in range(9)}) == 1


def test_a_subject_is_painted_over_with_its_surroundings() -> None:
    rgb, mask = square()
    filled = paint_over(rgb, mask > 0)
    assert filled.shape == rgb.shape
    assert filled.max() < 100
    assert np.array_equal(filled[:4, :10], rgb[:4, :10])


def test_large_pictures_are_made_smaller_and_small_ones_are_left() -> None:
    assert at_most(np.zeros((50, 100, 3), np.uint8), 40).shape == (20, 40, 3)
    assert at_most(np.zeros((50, 100, 3), np.uint8), 100).shape == (50, 100, 3)


def test_a_picture_that_shrinks_more_one_way_is_averaged_that_way() -> None:
    """Stripes of one row in a tall picture, stretched to a wide sample, become grey instead of a moiré."""
    rgb = np.zeros((400, 80, 3), np.uint8)
    rgb[::2] = 254
    nothing = np.zeros((1, 400, 80), np.uint8)
    options = AugmentOptions(flip=0.0, rotate=0.0, zoom=(1.0, 1.0))
    found = view(Scene(rgb, nothing, nothing), (80, 100), np.random.default_rng(1), options, person=False).rgb
    assert np.abs(found.astype(int) - 127).max() <= 2
