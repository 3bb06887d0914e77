"""A pipeline for live streams: changed from any thread while it runs, sparing under load, closed when it fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from rtseg.adaptive import Adaptive
from rtseg.cards import Card
from rtseg.errors import RtsegError
from rtseg.live.ladder import Ladder, Rung
from rtseg.live.scene import Scene, scene_effects, scene_framing
from rtseg.live.shown import ShownSubject
from rtseg.live.slate import slate
from rtseg.ops.arrays import as_u8
from rtseg.pipeline import Pipeline
from rtseg.types import Effect, Frame, Output, Regions

log = logging.getLogger("rtseg")

_AGAIN = 2.0
"""Seconds until a pipeline that failed is made anew."""
_TOO_OLD = 0.5
"""Seconds that a frame may have waited: an older one is not worth the network's time."""


@dataclass(frozen=True, eq=False)
class Network:
    """A model made real for one stream: its card and a pipeline without effects. close: gives its place back."""

    card: Card
    pipeline: Pipeline
    close: Callable[[], None] = lambda: None


OpenNetwork = Callable[[str | None], Network]
"""Opens a model by name; None for the stream's own."""


class LivePipeline:
    """Takes frames of one stream to outputs; None for a frame that is left out. It never raises, and fails closed.

    With a scene that hides the room, what goes out is a composite of a mask made for that frame, the effect over all of
    it where the network failed, or a slate: before the first mask, while the effects cannot be made, after any other
    error. A frame older than half a second is left out. Without such a scene there is nothing to hide, and a
    frame that failed is left out.

    `change` and `swap` may be called from any thread; they do the slow part there and raise what is wrong with the
    wish, while the stream goes on as it was. `__call__` belongs to one thread.
    """

    def __init__(self, open_network: OpenNetwork, scene: Scene, *, ladder: Ladder | None = None) -> None:
        self._open = open_network
        self._changing = threading.Lock()
        self._scene = scene
        self._network = open_network(None)
        self._effects = scene_effects(scene, self._network.card)
        self._framing = scene_framing(scene)
        self._lighter = _Lighter(open_network)
        self._shown = ShownSubject()
        self._retired: list[Network] = []
        self.ladder = Ladder(lighter=self._network.card.lighter is not None) if ladder is None else ladder
        self.failure: str | None = None
        self._failed_at: float | None = None
        self._last: Output | None = None
        self._last_index: int | None = None
        self._left_out = False

    @property
    def scene(self) -> Scene:
        """What is shown now."""
        return self._scene

    @property
    def card(self) -> Card:
        """Of the model that is asked now, the lighter one under load."""
        return self._now()[0].card

    def change(self, scene: Scene) -> None:
        """Show another scene from the next frame on. Raises what its pictures or names have wrong; then all stays."""
        with self._changing:
            effects = scene_effects(scene, self._network.card)
            framing, before = self._framing, self._scene
            if (scene.framing, scene.mirror) != (before.framing, before.mirror):  # in a mirror the subject is elsewhere
                framing = scene_framing(scene)
            self._retired += self._lighter.forget()
            self._effects, self._framing, self._scene = effects, framing, scene

    def swap(self, model: str) -> None:
        """Another model from the next frame on, with the same scene; raises what models and engines raise."""
        with self._changing:
            network = self._open(model)
            try:
                effects = scene_effects(self._scene, network.card)
            except BaseException:
                network.close()
                raise
            self._retired += [self._network, *self._lighter.forget()]  # the worker may be in one of them
            self._network, self._effects = network, effects

    def close(self) -> None:
        """Give the networks back; nobody may be in `__call__`."""
        with self._changing:
            self._retired += [self._network, *self._lighter.forget()]
            self._retire()

    def __call__(self, frame: Frame) -> Output | None:
        """An output whose picture may leave, or None for a frame that is left out."""
        scene, started = self._scene, time.monotonic()
        missed = 0 if self._last_index is None else max(0, frame.index - self._last_index - 1)
        self._last_index = frame.index
        if scene.slate:
            return self._slate(frame, "rtseg: paused")
        if scene.frozen and self._last is not None:
            return _at(self._last, frame)
        self._left_out = self.ladder.rung >= Rung.HALF_RATE and not self._left_out
        if self._left_out or started - frame.arrived > _TOO_OLD:
            return None
        if self._failed_at is not None and started - self._failed_at < _AGAIN:
            return self._closed_output(frame, scene)
        output = self._made(mirrored(frame) if scene.mirror else frame, scene)
        if output is None:
            return self._closed_output(frame, scene)
        self._last = output
        now = time.monotonic()
        self.ladder.observe(now, busy=now - started, missed=missed)
        return output

    def leave_out(self, frame: Frame) -> None:
        """Pass over a frame on purpose, so that it does not count as missed."""
        self._last_index = frame.index

    def _retire(self) -> None:
        while self._retired:
            self._retired.pop().close()

    def _made(self, frame: Frame, scene: Scene) -> Output | None:
        network, effects = self._now()
        framing = self._framing
        self._retire()
        pipeline = network.pipeline
        if (self.ladder.rung >= Rung.ADAPTIVE) != (pipeline.adaptive is not None):
            pipeline.adaptive = Adaptive() if self.ladder.rung >= Rung.ADAPTIVE else None
        pipeline.effects = effects
        self._shown(scene, pipeline)
        try:
            if self._failed_at is not None:
                self._failed_at = None
                pipeline.reset()
            output = pipeline(frame)
            # Before framing, which makes a picture of its own out of a frame that nobody painted.
            wrong = _shows_too_much(output, frame) if scene.hides else None
            if framing is not None and wrong is None:
                output = framing(output)
        except Exception as error:  # whatever it is: a stream lives on, and without a mask nothing is shown
            if self.failure is None:
                log.warning("the pipeline failed, and is tried again every %.0f s: %s", _AGAIN, error)
            self.failure, self._failed_at = str(error) or type(error).__name__, time.monotonic()
            return None
        self.failure = wrong
        return output if wrong is None else None

    def _now(self) -> tuple[Network, tuple[Effect, ...]]:
        """The network and its effects for the next frame."""
        if self.ladder.rung >= Rung.LIGHTER and (light := self._lighter.get(self._network.card, self._scene)):
            return light
        return self._network, self._effects

    def _closed_output(self, frame: Frame, scene: Scene) -> Output | None:
        return self._slate(frame, "rtseg: one moment, please") if scene.hides else None

    def _slate(self, frame: Frame, text: str) -> Output:
        picture = _dated(slate(frame.size, text), frame)
        nothing = Regions(np.zeros((1, 1, 1), np.uint8), ("person",), frame.pts, frame.size)
        return Output(picture, nothing, (), picture, held=True, inferred=False)


class _Lighter:
    """The lighter model of a card, opened in a thread of its own when it is first needed."""

    def __init__(self, open_network: OpenNetwork) -> None:
        self._open = open_network
        self._lock = threading.Lock()
        self._made: tuple[Network, tuple[Effect, ...]] | None = None
        self._asked = False

    def get(self, card: Card, scene: Scene) -> tuple[Network, tuple[Effect, ...]] | None:
        """What there is by now; the first call begins to make it."""
        with self._lock:
            if not self._asked and card.lighter is not None:
                self._asked = True
                threading.Thread(
                    target=self._make, args=(card.lighter, scene), name="rtseg-lighter", daemon=True
                ).start()
            return self._made

    def forget(self) -> list[Network]:
        """The scene or the model is another: what was made for it, for the caller to close."""
        with self._lock:
            made, self._made, self._asked = self._made, None, False
        return [] if made is None else [made[0]]

    def _make(self, model: str, scene: Scene) -> None:
        try:
            network = self._open(model)
            effects = scene_effects(scene, network.card)
        except RtsegError as error:
            log.warning("the lighter model %s is not used: %s", model, error)
            return
        with self._lock:
            if self._asked and self._made is None:
                self._made = (network, effects)
                return
        network.close()


def mirrored(frame: Frame) -> Frame:
    """The frame with left and right exchanged."""
    luma, u, v = (as_u8(cv2.flip(plane, 1)) for plane in frame.planes)
    alpha = None if frame.alpha is None else as_u8(cv2.flip(frame.alpha, 1))
    return replace(frame, planes=(luma, u, v), alpha=alpha)


def _dated(picture: Frame, frame: Frame) -> Frame:
    """A picture with the place and time of a frame."""
    return replace(
        picture,
        index=frame.index,
        pts=frame.pts,
        time_base=frame.time_base,
        arrived=frame.arrived,
        epoch=frame.epoch,
        duration=frame.duration,
    )


def _at(output: Output, frame: Frame) -> Output:
    """An earlier output once more, at the time of a frame."""
    return replace(
        output, frame=_dated(output.frame, frame), picture=_dated(output.picture, frame), times={}, inferred=False
    )


def _shows_too_much(output: Output, frame: Frame) -> str | None:
    """Why the picture may not leave a stream that hides its room, whatever segmenter and effects were thinking."""
    result = output.segmentation
    if result.pts != frame.pts or result.size != frame.size:
        return "the mask is that of another frame"
    if output.picture is frame and not (
        isinstance(result, Regions) and bool((result.probabilities.max(axis=0) >= 240).all())
    ):
        return "the effects painted nothing"
    return None
