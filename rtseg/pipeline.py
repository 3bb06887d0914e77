"""One frame in, one output out: pure, synchronous, and the same for a webcam, a file and a test."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from rtseg.adaptive import Sparing
from rtseg.compositor import Compositor
from rtseg.errors import EngineError, InferenceFailed
from rtseg.framing import Framing
from rtseg.types import Analyzer, Effect, Filter, Frame, Observation, Output, Segmentation, Segmenter

_log = logging.getLogger("rtseg")


class Pipeline:
    """Segments, filters, analyses and composites a frame; belongs to one stream and one thread.

    Fails closed: where the segmenter raises EngineError, the last good segmentation is used for up to `hold` frames
    and then its empty one (nobody anywhere: a background effect covers the whole picture). After `give_up` failures
    in a row the error is raised.

    adaptive: asks the network only where an earlier mask is not as good; None asks it for every frame. framing: crops
    what effects made to the subject; None shows the whole.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        *,
        filters: Sequence[Filter] = (),
        analyzers: Sequence[Analyzer] = (),
        effects: Sequence[Effect] = (),
        adaptive: Sparing | None = None,
        framing: Framing | None = None,
        hold: int = 5,
        give_up: int = 30,
    ) -> None:
        self.segmenter = segmenter
        self.filters = tuple(filters)
        self.analyzers = tuple(analyzers)
        self.effects = tuple(effects)
        self.adaptive = adaptive
        self.framing = framing
        self._compositor = Compositor()
        self._hold, self._give_up = hold, give_up
        self._failures = 0
        self._last: Segmentation | None = None
        self._epoch: int | None = None

    def __call__(self, frame: Frame) -> Output:
        """Take one frame all the way; `Output.times` has the milliseconds of each stage.

        A frame of another epoch than the one before resets everything that remembers.
        """
        if self._epoch != frame.epoch:
            if self._epoch is not None:
                self.reset()
            self._epoch = frame.epoch
        clock = _Stopwatch()
        held = False
        earlier = None if self.adaptive is None else self.adaptive(frame)
        if earlier is not None and earlier.names != self.segmenter.names:  # other prompts, which have no mask yet
            earlier = None
        try:
            segmentation = made = self._asked(frame) if earlier is None else earlier
        except EngineError as error:
            segmentation, held = self._stand_in(frame, error), True
            clock.lap("segment")
        else:
            clock.lap("segment")
            if earlier is None or self.adaptive is None or not self.adaptive.kept:  # what is kept is filtered already
                for stage in self.filters:
                    segmentation = stage(frame, segmentation)
            if earlier is None and self.adaptive is not None:
                self.adaptive.made(frame, made, filtered=segmentation)
            self._failures, self._last = 0, segmentation
            clock.lap("filter")
        observations = observe(self.analyzers, frame, segmentation)
        if self.analyzers:
            clock.lap("analyse")
        picture = frame
        if self.effects:
            layers = [layer for effect in self.effects for layer in effect(frame, segmentation, observations)]
            clock.lap("effect")
            picture = self._compositor(frame, layers)
            clock.lap("composite")
        output = Output(frame, segmentation, observations, picture, clock.laps, held, earlier is None)
        return output if self.framing is None else self.framing(output)

    def reset(self) -> None:
        """Forget everything learnt from earlier frames."""
        self._last = None
        if self.adaptive is not None:
            self.adaptive.reset()
        if self.framing is not None:
            self.framing.reset()
        self.segmenter.reset()
        for stage in self.filters:
            stage.reset()
        for analyzer in self.analyzers:
            analyzer.reset()

    def _asked(self, frame: Frame) -> Segmentation:
        """The segmenter's result; InferenceFailed for that of another frame, which must not be remembered either."""
        made = self.segmenter(frame)
        if made.pts != frame.pts or made.size != frame.size:
            raise InferenceFailed(
                f"the segmenter gave a mask of {made.size[0]}x{made.size[1]} at {made.pts} for a frame of "
                f"{frame.size[0]}x{frame.size[1]} at {frame.pts}: it is that of another frame"
            )
        return made

    def _stand_in(self, frame: Frame, error: EngineError) -> Segmentation:
        self._failures += 1
        if self._failures >= self._give_up:
            raise error
        if self._failures == 1:
            _log.warning("no mask for frame %d: %s", frame.index, error)
        last = self._last
        usable = last is not None and last.size == frame.size and last.names == self.segmenter.names
        if last is not None and usable and self._failures <= self._hold:
            return replace(last, pts=frame.pts)
        return self.segmenter.empty(frame)


def observe(analyzers: Sequence[Analyzer], frame: Frame, segmentation: Segmentation) -> list[Observation]:
    """What the analyzers find, in their order; those that follow others are told what those found."""
    found: list[Observation] = []
    for analyzer in analyzers:
        # Not isinstance: of a runtime-checkable protocol it takes as long as a small analyzer.
        after = getattr(analyzer, "after", None)
        found += analyzer(frame, segmentation) if after is None else after(frame, segmentation, tuple(found))
    return found


class _Stopwatch:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = (now - self._last) * 1e3
        self._last = now
