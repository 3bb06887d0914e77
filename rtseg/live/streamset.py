"""Live streams by name: added, changed and removed while the others run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Set
from typing import Any

from rtseg import store
from rtseg.auto_preset import Pace
from rtseg.build import build_sink, build_source, is_matte
from rtseg.config import SinkOptions, SourceOptions, VideoSink, parse_config
from rtseg.errors import ConfigError, RtsegError
from rtseg.live.ladder import Ladder
from rtseg.live.networks import live_pace, open_networks, with_preset
from rtseg.live.options import StreamOptions, parse_stream
from rtseg.live.paced import Paced
from rtseg.live.pipeline import LivePipeline
from rtseg.live.playback import Playback
from rtseg.live.scene import Scene
from rtseg.live.stream import LiveStream, StreamStatus
from rtseg.options import configure
from rtseg.places import redact
from rtseg.registry import import_target, load
from rtseg.streams import Networks
from rtseg.types import Sink, Size, Source

log = logging.getLogger("rtseg")


class StreamSet:
    """Owns streams and the networks that they share. For any thread; `close` ends them all.

    on_key: told the keys that are pressed in a stream's window.
    """

    def __init__(self, *, capacity: float | None = 0.85, on_key: Callable[[str], None] | None = None) -> None:
        self.networks = Networks(capacity=capacity)
        self._on_key = on_key
        self._lock = threading.Lock()  # of the tables, and never held while something opens or closes
        self._streams: dict[str, tuple[StreamOptions, LiveStream]] = {}
        self._changing: dict[str, threading.Lock] = {}
        self._opening: set[str] = set()
        self._closed = False

    def add(self, options: StreamOptions) -> LiveStream:
        """Begin a stream. Raises ConfigError for a name that is taken, and what its parts raise, leaving nothing."""
        name = options.name
        with self._lock:
            if self._closed:
                raise ConfigError("no stream can be added: the streams are being ended")
            if name in self._streams or name in self._opening:
                raise ConfigError(f"there is a stream {name!r} already: give another name, or change that one")
            self._opening.add(name)
        try:
            stream = self._begin(options)
            self._keep(name, options, stream)
            return stream
        finally:
            with self._lock:
                self._opening.discard(name)

    def get(self, name: str) -> LiveStream:
        """A stream by name; KeyError if there is none."""
        with self._lock:
            return self._streams[name][1]

    def find(self, name: str) -> LiveStream | None:
        """A stream by name, None if there is none."""
        with self._lock:
            known = self._streams.get(name)
        return None if known is None else known[1]

    def options(self, name: str) -> StreamOptions:
        """What the stream was begun with, and what was changed since."""
        with self._lock:
            return self._streams[name][0]

    def list(self) -> dict[str, StreamStatus]:
        """One look at each."""
        with self._lock:
            streams = {name: stream for name, (_, stream) in self._streams.items()}
        return {name: stream.status() for name, stream in streams.items()}

    def change(self, name: str, values: Mapping[str, Any]) -> StreamOptions:
        """Change parts of a stream's options. Scene, model and sinks change while it runs; for others it begins anew.

        KeyError for no such stream; what is wrong with the wish is raised, and all stays as it was.
        """
        with self._alone(name):
            before, stream = self._streams[name]
            after = parse_stream({**before.model_dump(exclude_unset=True), **values, "name": name})
            kept = {"scene", "model", "sinks"}
            if before.model_dump(exclude=kept) != after.model_dump(exclude=kept):
                checked = _scene_of(after)
                stream.close()
                try:
                    fresh = self._begin(after.model_copy(update={"scene": checked}))
                except RtsegError:
                    self._keep(name, before, self._begin(before))
                    raise
                self._keep(name, after, fresh)
                return after
            fresh_sinks = {where: sink_options(where) for where in after.sinks if where not in before.sinks}
            if after.model != before.model:
                if not isinstance(after.model, str):
                    raise ConfigError("a running stream takes a model's name, not a table: remove it and add it anew")
                stream.swap(after.model)
            if after.scene != before.scene or _said(after) != _said(before):
                try:
                    stream.change(**_scene_of(after).model_dump())
                except RtsegError:
                    if after.model != before.model:
                        stream.swap(before.model_options.name)
                    raise
            if after.sinks != before.sinks:
                self._exchange(stream, before, after, fresh_sinks)
            self._keep(name, after, stream)
            return after

    def remove(self, name: str) -> None:
        """End a stream; KeyError if there is none."""
        with self._alone(name):
            with self._lock:
                _, stream = self._streams.pop(name)
                self._changing.pop(name, None)
            stream.close()

    def close(self) -> None:
        """End all streams, side by side, and give the networks back."""
        with self._lock:
            self._closed = True
            streams = [stream for _, stream in self._streams.values()]
            self._streams.clear()
        threads = [threading.Thread(target=stream.close, daemon=True) for stream in streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.networks.close()

    def _alone(self, name: str) -> threading.Lock:
        """So that a stream is changed by one at a time, while the others may be changed too."""
        with self._lock:
            self._streams[name]
            return self._changing.setdefault(name, threading.Lock())

    def _keep(self, name: str, options: StreamOptions, stream: LiveStream) -> None:
        with self._lock:
            if not self._closed:
                self._streams[name] = (options, stream)
                return
        stream.close()
        raise ConfigError("no stream can begin: the streams are being ended")

    def _begin(self, options: StreamOptions) -> LiveStream:
        sinks = {where: sink_options(where) for where in options.sinks}
        scene = _scene_of(options)
        networks = open_networks(
            self.networks, options.model_options, filters=options.filters, rate=options.rate, pace=_pace_of(options)
        )
        pipeline = LivePipeline(networks, scene)
        pipeline.ladder = Ladder(lowest=options.lowest_rung, lighter=pipeline.card.lighter is not None)
        try:
            source = open_source(options)
        except BaseException:
            pipeline.close()
            raise
        stream = LiveStream(source, pipeline, {}, name=options.name, rate=options.rate)
        for where, sink in sinks.items():
            stream.add_sink(sink_key(where), self._paced(where, sink, stream))
        return stream

    def _paced(self, where: str | SinkOptions, options: SinkOptions, stream: LiveStream) -> Paced:
        return paced(options, stream.source, name=sink_key(where), said=stream.said, on_key=self._on_key)

    def _exchange(
        self,
        stream: LiveStream,
        before: StreamOptions,
        after: StreamOptions,
        fresh: Mapping[str | SinkOptions, SinkOptions],
    ) -> None:
        """Sinks that are not there any more end, and new ones begin; the others go on."""
        for where in before.sinks:
            if where not in after.sinks:
                stream.remove_sink(sink_key(where))
        for where, options in fresh.items():
            stream.add_sink(sink_key(where), self._paced(where, options, stream))


def open_source(options: StreamOptions) -> Source:
    """The stream's source, live: a file is played at its pace. Raises what sources raise."""
    table = _source_of(options)
    if "attempts" in type(table).model_fields:
        table = table.model_copy(update={"attempts": options.attempts})
    source = build_source(table)
    if source.live:
        return source
    source.close()
    return Playback(lambda: build_source(table), loop=options.loop)


def _source_of(options: StreamOptions) -> SourceOptions:
    table = configure(options.source).source if isinstance(options.source, str) else options.source
    assert table is not None
    return table


def _said(options: StreamOptions) -> Set[str]:
    """What of the scene goes before a preset, whatever its value."""
    return frozenset() if options.scene is None else options.scene.model_fields_set


def _pace_of(options: StreamOptions) -> Pace | None:
    """What the preset "auto" is chosen for."""
    return live_pace(_source_of(options), options.rate) if options.model_options.preset == "auto" else None


def sink_options(where: str | SinkOptions) -> SinkOptions:
    """The table of `[[sinks]]` that an address stands for; ConfigError for what is none."""
    if isinstance(where, str):
        table = import_target("rtseg.sinks.addresses:parse_address")(where)
        where = parse_config({"sinks": [table]}, origin=f"output {redact(where)!r}").sinks[0]
    load("sink", where.type)  # a plug-in that is not installed is found out now, not when the sink opens
    return where


def paced(
    options: SinkOptions,
    source: Source,
    *,
    name: str,
    said: Callable[[], str] = lambda: "rtseg: no picture",
    on_key: Callable[[str], None] | None = None,
) -> Paced:
    """A sink that waits for nobody, from its options. said: the text of slates. on_key: told a window's keys."""

    def open_sink(_size: Size) -> Sink:
        return build_sink(options, source, on_key=on_key)

    return Paced(open_sink, name=name, text=said, fresh=isinstance(options, VideoSink))


def _scene_of(options: StreamOptions) -> Scene:
    scene, model = options.scene, options.model_options
    if scene is None:
        scene = Scene(background="blur") if is_matte(store.find_card(model.name)) else Scene(overlay="all")
    if scene.subject is None and model.subject is not None:  # so that another network goes on with the same person
        scene = scene.model_copy(update={"subject": model.subject})
    if model.keep_held:
        scene = scene.model_copy(update={"keep_held": True})
    return with_preset(scene, model, options.filters, _pace_of(options))


def sink_key(where: str | SinkOptions) -> str:
    """What a sink is called in a stream: its address without passwords, or the kind of its table and its place."""
    if isinstance(where, str):
        return redact(where)
    values = (getattr(where, key, None) for key in ("path", "folder", "url", "device", "port"))
    place = next((str(value) for value in values if value is not None), "")
    return redact(f"{where.type}:{place}") if place else where.type
