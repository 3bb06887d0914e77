"""Properties of the element as words of rtseg, without GStreamer."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from rtseg.errors import ConfigError, ModelNotFound
from rtseg.gstreamer.look import Look, Wishes
from rtseg.live.ladder import Rung
from rtseg.ops.colour import rgb_to_yuv
from rtseg.types import U8, Colour, Frame
from rtseg.views import Views

GREEN = Wishes(background="#00ff00", filters="none")
BT601 = Colour("bt601")


def white(size: tuple[int, int] = (64, 36)) -> tuple[U8, U8, U8]:
    width, height = size
    chroma = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
    return np.full((height, width), 235, np.uint8), chroma, chroma


def shown(look: Look, *, size: tuple[int, int] = (64, 36), pts: int = 0) -> Frame:
    picture = look(white(size), BT601, pts=pts, duration=0)
    assert picture is not None
    assert picture.size == size
    return picture


@pytest.mark.parametrize(
    ("wishes", "background", "overlay", "model"),
    [
        (Wishes(), "blur", None, "portrait"),
        (Wishes(overlay="all"), None, "all", "road"),
        (Wishes(overlay="all", background="blur"), "blur", "all", "portrait"),
        (Wishes(background="none"), None, None, "portrait"),
        (Wishes(background="blur:4", model="portrait-fast"), "blur:4", None, "portrait-fast"),
    ],
)
def test_words_mean_what_they_mean_to_run(
    wishes: Wishes, background: str | None, overlay: str | None, model: str
) -> None:
    assert (wishes.scene.background, wishes.scene.overlay, wishes.run.model.name) == (background, overlay, model)


def preset_of(look: Look) -> tuple[bool, bool]:
    """Whether the network looks several times, and whether the edge is cleaned."""
    pipeline = look._pipeline
    return isinstance(pipeline._network.pipeline.segmenter, Views), pipeline.scene.decontaminate


def test_a_preset_is_in_the_network_and_in_the_scene_and_changes_while_it_plays() -> None:
    with closing(Look(replace(GREEN, preset="balanced"), live=False)) as look:
        assert preset_of(look) == (True, True)
        look.change(replace(GREEN, preset="fast"))
        assert preset_of(look) == (False, False)
        with pytest.raises(ConfigError, match="preset 'best' is none"):
            look.change(replace(GREEN, preset="best"))
        with pytest.raises(ConfigError, match="is for mattes, and model 'road' is none"):
            look.change(Wishes(model="road", background="none", preset="studio"))
        shown(look)


def test_framing_is_a_part_of_the_scene() -> None:
    assert [Wishes(framing=word).scene.framing for word in ("", "none", "head:1.5")] == [None, None, "head:1.5"]


def test_what_is_wished_is_shown_from_the_next_frame_on() -> None:
    look = Look(GREEN, live=False)
    assert [int(plane.mean()) for plane in shown(look).planes] == [*rgb_to_yuv((0, 255, 0), BT601)]
    look.change(replace(GREEN, background="#ff0000"))
    assert [int(plane.mean()) for plane in shown(look, pts=1).planes] == [*rgb_to_yuv((255, 0, 0), BT601)]
    look.change(replace(GREEN, slate=True))
    assert {int(plane.mean()) for plane in shown(look, pts=2).planes[1:]} == {128}
    look.close()


def test_what_cannot_be_raises_and_changes_nothing() -> None:
    look = Look(GREEN, live=False)
    before = shown(look).planes[0]
    for wishes, error in (
        (replace(GREEN, model="portait"), ModelNotFound),
        (replace(GREEN, overlay="nobody"), ConfigError),
        (replace(GREEN, filters="smoth"), ConfigError),
    ):
        with pytest.raises(error):
            look.change(wishes)
    np.testing.assert_array_equal(shown(look, pts=1).planes[0], before)
    look.change(replace(GREEN, background="#ffffff"))
    look.close()


def test_a_frozen_picture_of_another_size_is_a_slate() -> None:
    look = Look(GREEN, live=False)
    shown(look)
    look.change(replace(GREEN, freeze=True))
    assert int(shown(look, pts=1).planes[0].mean()) == rgb_to_yuv((0, 255, 0), BT601)[0]
    assert {int(plane.mean()) for plane in shown(look, size=(48, 80), pts=2).planes[1:]} == {128}
    look.close()


def test_a_file_gives_nothing_way_and_a_live_stream_does() -> None:
    for live, rung in ((False, Rung.FULL), (True, Rung.ADAPTIVE)):
        look = Look(GREEN, live=live)
        ladder = look.ladder
        for second in range(1, 4):
            ladder.observe(float(second), busy=1.0, missed=0)
        assert (ladder.rung > Rung.FULL) is live
        look.change(replace(GREEN, adaptive=True))
        assert ladder.rung >= Rung.ADAPTIVE >= rung
        look.close()
