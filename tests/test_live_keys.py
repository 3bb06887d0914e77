"""Keys change a scene, and none of them shows the room."""

from __future__ import annotations

import string

from rtseg.live.keys import HELP, pressed
from rtseg.live.scene import Scene


def after(keys: str, scene: Scene, *, first: str | None = None) -> Scene:
    for key in keys:
        wish = pressed(key, scene, first=first)
        assert wish is not None
        scene = scene.changed(wish)
    return scene


def test_slate_freeze_and_mirror_go_on_and_off() -> None:
    scene = Scene(background="blur")
    assert after(" fm", scene) == Scene(background="blur", slate=True, frozen=True, mirror=True)
    assert after("  ffmm", scene) == scene


def test_blur_gets_stronger_and_weaker_within_what_is_allowed() -> None:
    assert after("+", Scene(background="blur")).background == "blur:3.1"
    assert after("-", Scene(background="blur:4")).background == "blur:3.2"
    assert after("+" * 20, Scene(background="blur")).background == "blur:10"
    assert after("-" * 20, Scene(background="blur")).background == "blur:0.5"


def test_backgrounds_go_round_from_what_the_stream_began_with() -> None:
    scene = Scene(background="office.jpg")
    seen = [after("b" * times, scene, first="office.jpg").background for times in range(4)]
    assert seen == ["office.jpg", "blur", "#00b140", "office.jpg"]
    assert after("b", Scene(background="blur:4"), first="blur").background == "#00b140"


def test_q_ends_and_every_other_key_leaves_the_room_hidden() -> None:
    scene = Scene(background="blur")
    assert pressed("q", scene) is None
    for key in string.printable.replace("q", ""):
        assert after(key, scene, first="blur").hides
    assert set("".join(HELP).replace("space", " ").replace(" ", "")) <= set("fmb+-q")


def test_a_lens_stays_a_lens() -> None:
    assert after("+", Scene(background="bokeh")).background == "bokeh:3.1"
    assert after("-", Scene(background="bokeh-depth:4")).background == "bokeh-depth:3.2"
    assert after("+", Scene(background="#00b140")).background == "blur:3.1"
