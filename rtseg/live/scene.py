"""What viewers of a live stream see, as far as it may change while the stream runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rtseg.build import build_effect
from rtseg.cards import Card, Share
from rtseg.config import BackgroundEffect, EffectOptions
from rtseg.edge_options import Feather
from rtseg.effects.background import parse_background
from rtseg.errors import ConfigError
from rtseg.framing import Framing
from rtseg.options import configure, parse_framing
from rtseg.sections import Section
from rtseg.subject import Who, turned
from rtseg.types import Blur, Clear, Effect


class Scene(Section):
    """The look of a stream; a value: `changed` gives another.

    background: as `rtseg run --background`: "blur", "blur:4", "#0b6623", a picture, a video; None shows the room.
    overlay: as `--overlay`: "all", "road" or names joined by commas. framing: as `--framing`: "body", "head",
    "head:1.5"; None shows the whole picture. mirror: left and right exchanged, as people know themselves. subject: who
    is shown, "all", "largest" or [x, y] of a person in the picture as it is shown, mirrored or not; None for what the
    model's table says. keep_held: with what they hold. frozen: the last picture stands. slate: nobody is shown, only a
    plain card that says so. decontaminate, feather, light_wrap, shadow: as of the effect `background`, where there is
    one.
    """

    background: str | None = None
    overlay: str | None = None
    framing: str | None = None
    mirror: bool = False
    subject: Who | None = None
    keep_held: bool = False
    frozen: bool = False
    slate: bool = False
    decontaminate: bool = False
    feather: Feather = 0.0
    light_wrap: Share = 0.0
    shadow: Share = 0.0

    @property
    def hides(self) -> bool:
        """Whether the room is to be kept from viewers, whatever fails."""
        return self.background is not None

    def changed(self, values: Mapping[str, Any]) -> Scene:
        """The scene with other values; ConfigError for a key or a value that there is not.

        A place of the subject stays with its person where nothing but the mirror changes.
        """
        try:
            scene = Scene.model_validate({**self.model_dump(), **values})
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(map(str, problem["loc"]))
            if problem["type"] == "extra_forbidden":
                raise ConfigError(f"{key!r} is no part of a scene: use {', '.join(Scene.model_fields)}") from error
            raise ConfigError(f"{key} = {problem['input']!r}: {problem['msg'].lower()}") from error
        if scene.mirror != self.mirror and "subject" not in values:
            return scene.model_copy(update={"subject": turned(scene.subject)})
        return scene


def scene_effects(scene: Scene, card: Card) -> tuple[Effect, ...]:
    """The effects that the scene asks for, made for that model: pictures are read and videos opened here.

    Raises ConfigError for what the model cannot do, and what sources raise for a background that cannot be read.
    """
    if scene.background is None and scene.overlay is None:
        return ()
    if scene.background is not None:
        match parse_background(scene.background):
            case None:
                raise ConfigError(f"background {scene.background!r} hides nothing: use blur, a colour, or leave it out")
            case Clear():
                raise ConfigError("a stream has no transparency, its viewers would see the room: use a colour")
    options = configure(model=card.name, background=scene.background, overlay=scene.overlay).effects or ()
    return tuple(build_effect(_edged(effect, scene), card) for effect in options)


def _edged(effect: EffectOptions, scene: Scene) -> EffectOptions:
    if not isinstance(effect, BackgroundEffect):
        return effect
    names = ["feather", "shadow"]
    if not isinstance(parse_background(effect.paint), Blur):  # a scene's background changes, and blur has no new light
        names += ["decontaminate", "light_wrap"]
    return effect.model_copy(update={name: value for name in names if (value := getattr(scene, name))})


def scene_framing(scene: Scene) -> Framing | None:
    """What crops the picture to the subject, new and without memory; ConfigError for what there is not."""
    options = None if scene.framing is None else parse_framing(scene.framing)
    return None if options is None else Framing(**options.options())
