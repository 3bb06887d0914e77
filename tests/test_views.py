"""One network that looks several times: what it is shown, and the mean of its answers."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg import store
from rtseg.config import ModelOptions
from rtseg.engines import build_segmenter
from rtseg.errors import ConfigError
from rtseg.ops.resize import enlarge
from rtseg.types import Frame, Regions, Segmentation
from rtseg.views import Number, Views

NETWORK = (64, 36)
SIZE = (640, 360)


class Bright:
    """A network to which everything bright is a person, and the left half of its picture a little more so."""

    names = ("person",)

    def __init__(self, *, leans: int = 0) -> None:
        self.shown: list[Frame] = []
        self.resets = 0
        self._leans = leans

    def __call__(self, frame: Frame) -> Segmentation:
        self.shown.append(frame)
        mask = np.where(frame.resized(NETWORK)[..., 1] > 128, 200, 0).astype(np.uint8)
        mask[:, : NETWORK[0] // 2] += np.uint8(self._leans)
        return Regions(mask[np.newaxis], self.names, frame.pts, frame.size)

    def empty(self, frame: Frame) -> Segmentation:
        return Regions(np.zeros((1, 36, 64), np.uint8), self.names, frame.pts, frame.size)

    def reset(self) -> None:
        self.resets += 1


def scene(*xs: int, size: tuple[int, int] = SIZE, wide: int = 60, tall: slice = slice(100, 220)) -> Frame:
    luma = np.full((size[1], size[0]), 30, np.uint8)
    for x in xs or (200,):
        luma[tall, x : x + wide] = 220
    grey = np.full((size[1] // 2, size[0] // 2), 128, np.uint8)
    return Frame((luma, grey, grey))


def looked(network: Bright, frame: Frame, number: Number = 2, *, times: int = 1) -> Regions:
    views = Views(network, number=number, size=NETWORK)
    for _ in range(times):
        found = views(frame)
    assert isinstance(found, Regions)
    return found


def test_the_first_frame_is_seen_whole_and_the_next_one_nearer_too() -> None:
    network = Bright()
    views = Views(network, number=2, size=NETWORK)
    views(scene())
    assert [frame.size for frame in network.shown] == [SIZE]
    assert views.part is not None
    x0, y0, x1, y1 = views.part
    assert x0 <= 200 - 20
    assert x1 >= 260 + 20
    assert y0 <= 100 - 20
    assert y1 >= 220 + 20
    views(scene())
    assert [frame.size for frame in network.shown[1:]] == [SIZE, (x1 - x0, y1 - y0)]


def test_masks_are_averaged_where_both_look_and_the_wholes_elsewhere() -> None:
    network = Bright(leans=40)
    views = Views(network, number=2, size=NETWORK)
    views(scene(420))
    found = views(scene(420))
    assert isinstance(found, Regions)
    [mask] = found.probabilities
    assert found.size == SIZE
    assert views.part is not None
    across = mask.shape[1] / SIZE[0]
    middle, inside = mask.shape[0] * 160 // 360, round(440 * across)
    # The whole has 200 there, right of its middle, and the part 240 or 200, left or right of its own.
    assert mask[middle, inside] in (200, 220)
    assert mask[2, 2] == 40  # only the whole looks there
    left, top = round((views.part[0] + 8) * across), round((views.part[1] + 8) * across)
    assert mask[top, left] == 20  # 0 of the whole and 40 of the part


def test_who_enters_is_seen_at_once() -> None:
    network = Bright()
    views = Views(network, number=2, size=NETWORK)
    views(scene(40))
    found = views(scene(40, 500))
    assert isinstance(found, Regions)
    across = found.probabilities.shape[2] / SIZE[0]
    assert found.probabilities[0, round(160 * across), round(530 * across)] == 200


def test_seen_mirrored_too_nothing_leans_to_a_side() -> None:
    """A network that gives the left half 40 more gives both halves 20 more."""
    frame = scene(0, wide=640)
    found = looked(Bright(leans=40), frame, 4)
    np.testing.assert_array_equal(found.probabilities[0], found.probabilities[0][:, ::-1])
    assert found.probabilities[0][0].tolist() == [20] * found.probabilities.shape[2]
    plain = looked(Bright(), scene(), 4, times=3).probabilities
    np.testing.assert_array_equal(plain, looked(Bright(), scene(), 2, times=3).probabilities)


def test_where_the_subject_fills_the_frame_there_is_no_part() -> None:
    network = Bright()
    views = Views(network, number=2, size=NETWORK)
    full = scene(0, wide=640, tall=slice(None))
    views(full)
    found = views(full)
    assert views.part is None
    assert len(network.shown) == 2
    assert isinstance(found, Regions)
    np.testing.assert_array_equal(found.probabilities[0], 200)


def test_a_part_stays_while_the_subject_is_well_inside() -> None:
    views = Views(Bright(), number=2, size=NETWORK)
    views(scene(200))
    part = views.part
    views(scene(204))
    assert views.part == part
    views(scene(300))
    assert views.part != part


def test_a_reset_or_another_size_forgets_the_part() -> None:
    network = Bright()
    views = Views(network, number=2, size=NETWORK)
    views(scene())
    views(scene(size=(320, 240)))
    assert [frame.size for frame in network.shown] == [SIZE, (320, 240)]
    views.reset()
    assert views.part is None
    assert network.resets == 2  # one as it was made


def test_masks_lie_where_the_wholes_do() -> None:
    """No shift by half a pixel: the mean of the same thing seen twice is where it was."""
    once = enlarge(looked(Bright(), scene()).probabilities[0], SIZE).astype(float)
    twice = enlarge(looked(Bright(), scene(), times=2).probabilities[0], SIZE).astype(float)

    def centre(mask: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
        y, x = np.indices(mask.shape)
        return float((x * mask).sum() / mask.sum()), float((y * mask).sum() / mask.sum())

    true = (200 + 260 - 1) / 2, (100 + 220 - 1) / 2
    assert centre(once) == pytest.approx(true, abs=0.6)
    assert centre(twice) == pytest.approx(true, abs=0.6)


@pytest.mark.parametrize(("model", "more"), [("road", {}), ("portrait", {"focus": True})])
def test_what_cannot_be_looked_at_twice_is_refused(model: str, more: dict[str, bool]) -> None:
    with pytest.raises(ConfigError, match="views = 2"):
        build_segmenter(ModelOptions.model_validate({"name": model, "views": 2, **more}), store.find_card(model))
