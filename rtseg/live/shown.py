"""Who of the people in a live stream is shown: one filter that goes with the stream from network to network."""

from __future__ import annotations

from rtseg.filters.cut import Cut
from rtseg.filters.refine import EdgeRefine
from rtseg.filters.subject import Subject
from rtseg.live.scene import Scene
from rtseg.pipeline import Pipeline
from rtseg.subject import Who
from rtseg.types import Filter


class ShownSubject:
    """The subject of a stream. The lighter network under load, and another model, go on with the same person.

    A stream whose scene never named a subject has what its model's table says, and no filter of this one's.
    """

    def __init__(self) -> None:
        self._filter: Subject | None = None
        self._wish: tuple[Who | None, bool, bool] = (None, False, False)

    def __call__(self, scene: Scene, pipeline: Pipeline) -> None:
        """Make the pipeline show whom the scene names, from the next frame on."""
        wish = scene.subject, scene.keep_held, scene.mirror
        if self._filter is None and wish[:2] == (None, False):
            self._wish = wish
            return
        if self._filter is None or wish != self._wish:
            self._change(wish, pipeline)
        assert self._filter is not None
        if self._filter not in pipeline.filters:
            pipeline.filters = _among(pipeline.filters, self._filter)

    def _change(self, wish: tuple[Who | None, bool, bool], pipeline: Pipeline) -> None:
        before, self._wish = self._wish, wish
        if self._filter is None:
            self._filter = Subject(who="all")
        if wish[2] != before[2]:
            self._filter.turn()
        self._filter.choose(wish[0] or "all", keep_held=wish[1])
        if pipeline.adaptive is not None:  # what it kept shows whom it showed before
            pipeline.adaptive.reset()


def _among(filters: tuple[Filter, ...], subject: Subject) -> tuple[Filter, ...]:
    """In place of the pipeline's own, else before edges are redrawn or masks are cut."""
    own = next((i for i, each in enumerate(filters) if isinstance(each, Subject)), None)
    if own is not None:
        return (*filters[:own], subject, *filters[own + 1 :])
    at = next((i for i, each in enumerate(filters) if isinstance(each, EdgeRefine | Cut)), len(filters))
    return (*filters[:at], subject, *filters[at:])
