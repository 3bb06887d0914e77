"""What a scene makes of the edge of its subject."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg import store
from rtseg.errors import ConfigError
from rtseg.live.scene import Scene, scene_effects
from rtseg.types import Frame, Layer, Regions, Size

CARD = store.find_card("portrait")


def layers(scene: Scene) -> list[Layer]:
    mask = np.zeros((36, 64), np.uint8)
    mask[10:, 20:40] = 255
    frame = Frame.from_rgb(np.full((144, 256, 3), 90, np.uint8))
    (effect,) = scene_effects(scene, CARD)
    return list(effect(frame, Regions(mask[None], ("person",), 0, Size(256, 144)), ()))


def test_the_edges_options_are_the_effects() -> None:
    scene = Scene(background="#ffffff")
    assert len(layers(scene)) == 1
    assert len(layers(scene.changed({"decontaminate": True}))) == 2
    assert len(layers(scene.changed({"decontaminate": True, "shadow": 0.5, "light_wrap": 0.5, "feather": 1.0}))) == 4


@pytest.mark.parametrize("background", ["blur", "bokeh:4"])
def test_light_is_left_out_while_the_background_is_a_blur(background: str) -> None:
    scene = Scene(background="#ffffff", light_wrap=0.5, shadow=0.5)
    assert len(layers(scene)) == 3
    assert len(layers(scene.changed({"background": background}))) == 2


@pytest.mark.parametrize("values", [{"feather": 11}, {"shadow": -0.1}, {"light_wrap": 2}])
def test_values_beyond_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        Scene(background="blur").changed(values)
