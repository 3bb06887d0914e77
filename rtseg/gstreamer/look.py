"""What the element's properties mean: a live pipeline, opened, changed while it plays, and asked frame by frame."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from fractions import Fraction

from rtseg import store
from rtseg.build import build_pipeline
from rtseg.config import Config
from rtseg.errors import RtsegError
from rtseg.live.ladder import Ladder, Rung
from rtseg.live.networks import another, with_preset
from rtseg.live.pipeline import LivePipeline, Network
from rtseg.live.scene import Scene
from rtseg.live.slate import slate
from rtseg.options import configure
from rtseg.presets import check_preset
from rtseg.runner import opencv_in_one_thread
from rtseg.types import U8, Colour, Frame

NANOSECONDS = Fraction(1, 1_000_000_000)


@dataclass(frozen=True, slots=True)
class Wishes:
    """The properties. Empty texts are not set: without a background and an overlay the background is blurred, and the
    model is the one that `rtseg run` would take. threads 0: the usual number."""  # fmt: skip

    background: str = ""
    overlay: str = ""
    model: str = ""
    filters: str = ""
    preset: str = ""
    providers: str = ""
    threads: int = 0
    adaptive: bool = False
    framing: str = ""
    mirror: bool = False
    freeze: bool = False
    slate: bool = False

    @property
    def scene(self) -> Scene:
        """What is shown."""
        background = self.background or ("none" if self.overlay else "blur")
        return Scene(
            background=None if background == "none" else background,
            overlay=None if self.overlay in ("", "none") else self.overlay,
            framing=None if self.framing in ("", "none") else self.framing,
            mirror=self.mirror,
            frozen=self.freeze,
            slate=self.slate,
        )

    @property
    def run(self) -> Config:
        """Model and filters, as `rtseg run` has them for the same words."""
        return configure(
            model=self.model or None,
            background=self.scene.background,
            overlay=self.scene.overlay,
            filters=self.filters or None,
            preset=check_preset(self.preset) if self.preset else None,
            providers=tuple(self.providers.split(",")) if self.providers else None,
            threads=self.threads or None,
        )


class Look:
    """A live pipeline behind wishes. `change` may be called from any thread, `__call__` in one at a time."""

    def __init__(self, wishes: Wishes, *, live: bool) -> None:
        """Opens the model; live: what gives way under load may do so. Raises RtsegError."""
        self._wishes = wishes
        self._changing = threading.Lock()
        self._open = contextlib.ExitStack()
        self._epoch = self._index = 0
        self._shape: tuple[object, ...] | None = None
        scene, lighter = _scene(wishes), store.find_card(wishes.run.model.name).lighter is not None
        self.ladder = _Steps(wishes.adaptive, live=live, lighter=lighter)
        self._pipeline = LivePipeline(self._open_network, scene, ladder=self.ladder)
        self._open.callback(self._pipeline.close)
        self._open.enter_context(opencv_in_one_thread())

    @property
    def failure(self) -> str | None:
        """Why slates or bare effects are shown, None while all is well."""
        return self._pipeline.failure

    def change(self, wishes: Wishes) -> None:
        """From the next frame on. Raises RtsegError for what cannot be, and then all stays as it was."""
        with self._changing:
            before, scene = self._wishes, _scene(wishes)
            self._wishes = wishes
            try:
                self.ladder.prefer(adaptive=wishes.adaptive)
                if (wishes.run.model, wishes.filters) != (before.run.model, before.filters):
                    self._pipeline.swap(wishes.run.model.name)
                if scene != _scene(before):
                    self._pipeline.change(scene)
            except RtsegError:
                self._wishes = before
                self.ladder.prefer(adaptive=before.adaptive)
                raise

    def __call__(self, planes: tuple[U8, U8, U8], colour: Colour, *, pts: int, duration: int) -> Frame | None:
        """The picture to show, of the frame's size, or None for a frame that is left out. pts in nanoseconds."""
        shape = (planes[0].shape, planes[1].shape, colour)
        self._epoch += self._shape is not None and shape != self._shape
        self._shape = shape
        frame = Frame(planes, colour, self._index, pts, NANOSECONDS, epoch=self._epoch, duration=duration)
        self._index += 1
        output = self._pipeline(frame)
        if output is None:
            return None
        picture = output.picture
        return picture if picture.size == frame.size else slate(frame.size, "rtseg: one moment, please")

    def close(self) -> None:
        """Give the network back; nobody may be in `__call__`."""
        self._open.close()

    def _open_network(self, name: str | None) -> Network:
        run = self._wishes.run
        card = store.find_card(run.model.name if name is None else name)
        config = Config(model=another(run.model, card, name), filters=run.filters, effects=())
        return Network(card, build_pipeline(config, card=card, hold=0))


def _scene(wishes: Wishes) -> Scene:
    """The scene with what the preset says of its edge."""
    return with_preset(wishes.scene, wishes.run.model, wishes.run.filters)


class _Steps(Ladder):
    """The ladder of a live stream, from its adaptive rung on where that is wished; for files it does not move."""

    def __init__(self, adaptive: bool, *, live: bool, lighter: bool) -> None:
        super().__init__(lighter=lighter)
        self._live, self._best = live, Rung.FULL
        self.prefer(adaptive=adaptive)

    def prefer(self, *, adaptive: bool) -> None:
        self._best = Rung.ADAPTIVE if adaptive else Rung.FULL
        self.rung = max(self.rung, self._best) if self._live else self._best

    def observe(self, now: float, *, busy: float, missed: int) -> Rung:
        if self._live:
            self.rung = max(self._best, super().observe(now, busy=busy, missed=missed))
        return self.rung
