"""One live stream: a source that comes back, a pipeline that never fails, sinks that never wait for each other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rtseg.errors import RtsegError
from rtseg.live.ladder import Rung
from rtseg.live.paced import Paced, SinkStatus
from rtseg.live.pipeline import LivePipeline
from rtseg.live.scene import Scene
from rtseg.runner import opencv_in_one_thread
from rtseg.stats import Recorder, StageTimes
from rtseg.types import Frame, Output, Source

log = logging.getLogger("rtseg")


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One look at a stream.

    state: "live", "no signal" (the source is away), "closed to view" (the pipeline fails: slates), "idle" (nobody
    watches), "failed" (it ended, see error) or "ended". link: the source's own state. frames_in: seen by the worker.
    frames_out: handed to sinks. left_out: too old, or by the ladder. inferred: the network was asked. counts: what the
    source lost, by cause. fps: of frames_out over the last seconds. stages: wall milliseconds,
    and age, from a frame's arrival until sinks were handed its picture.
    """

    name: str
    state: str
    link: str
    scene: Scene
    model: str
    rung: str
    fps: float
    seconds: float
    frames_in: int
    frames_out: int
    left_out: int
    held: int
    inferred: int
    error: str | None
    counts: Mapping[str, int] = field(default_factory=dict)
    stages: Mapping[str, StageTimes] = field(default_factory=dict)
    sinks: Mapping[str, SinkStatus] = field(default_factory=dict)


class LiveStream:
    """Runs from its making until `close`; everything else may be called from any thread meanwhile.

    It takes over source, pipeline and sinks and closes them. rate: the most frames a second that are looked at.
    """

    def __init__(
        self,
        source: Source,
        pipeline: LivePipeline,
        sinks: Mapping[str, Paced],
        *,
        name: str = "stream",
        rate: float | None = None,
    ) -> None:
        self.name = name
        self.source = source
        self._pipeline = pipeline
        self._sinks = dict(sinks)  # replaced as a whole, so that the worker reads it without a lock
        self._changing = threading.Lock()
        self._listeners: tuple[Callable[[Output], None], ...] = ()
        self._interval, self._due = 0.0 if rate is None else 1 / rate, float("-inf")
        self._recorder = Recorder()
        self._rate = _Rate()
        self._idle = False
        self._error: str | None = None
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._frames_in = self._left_out = 0
        self._thread = threading.Thread(target=self._work, name=f"rtseg-{name}", daemon=True)
        self._thread.start()

    @property
    def scene(self) -> Scene:
        """What is shown now."""
        return self._pipeline.scene

    def change(self, **values: object) -> Scene:
        """Change parts of the scene, `change(background="#00ff00", mirror=True)`; raises ConfigError and then changes
        nothing."""  # fmt: skip
        scene = self._pipeline.scene.changed(values)
        self._pipeline.change(scene)
        return scene

    def swap(self, model: str) -> None:
        """Use another model from the next frame on; raises what opening it raises and then goes on with the old."""
        self._pipeline.swap(model)

    def add_sink(self, name: str, sink: Paced) -> None:
        """One more output."""
        with self._changing:
            before = self._sinks.get(name)
            self._sinks = {**self._sinks, name: sink}
        if before is not None:
            before.close()

    def remove_sink(self, name: str) -> None:
        """An output less; nothing happens if it is not there."""
        with self._changing:
            sink = self._sinks.get(name)
            self._sinks = {key: other for key, other in self._sinks.items() if key != name}
        if sink is not None:
            sink.close()

    def listen(self, listener: Callable[[Output], None]) -> Callable[[], None]:
        """Have each output told, in the stream's thread: quickly; what it raises is logged. Gives what ends it.

        A stream that is listened to is watched: it asks its network also where no sink has a viewer.
        """
        with self._changing:
            self._listeners = (*self._listeners, listener)

        def stop() -> None:
            with self._changing:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return stop

    def said(self) -> str:
        """What a slate says now."""
        match self._state(self._link()):
            case "no signal":
                return "rtseg: no signal, trying again"
            case "failed" | "ended":
                return "rtseg: the stream has ended"
            case _:
                return "rtseg: paused" if self.scene.slate else "rtseg: one moment, please"

    def status(self) -> StreamStatus:
        """Everything so far, as values."""
        stats = self._recorder.snapshot()
        link = self._link()
        return StreamStatus(
            name=self.name,
            state=self._state(link),
            link=link,
            scene=self._pipeline.scene,
            model=self._pipeline.card.name,
            rung=Rung(self._pipeline.ladder.rung).name.lower().replace("_", " "),
            fps=self._rate.per_second(time.monotonic()),
            seconds=stats.seconds,
            frames_in=self._frames_in,
            frames_out=stats.frames_out,
            left_out=self._left_out,
            held=stats.held,
            inferred=stats.inferred,
            error=self._error or self._pipeline.failure,
            counts=dict(self.source.counts),
            stages=stats.stages,
            sinks={name: sink.status() for name, sink in self._sinks.items()},
        )

    def wait(self, timeout: float | None = None) -> bool:
        """Until the stream has ended by itself; whether it has."""
        return self._ended.wait(timeout)

    def close(self, *, timeout: float = 5.0) -> None:
        """End source, worker and sinks, in this order."""
        self.source.close()
        self._ended.wait(timeout)
        with self._changing:
            sinks, self._sinks = self._sinks, {}
        for sink in sinks.values():
            sink.close(timeout=timeout)

    def _link(self) -> str:
        state = getattr(self.source, "state", None)
        return str(getattr(state, "value", state or "live"))

    def _state(self, link: str) -> str:
        if self._ended.is_set():
            return "failed" if self._error else "ended"
        if link != "live":
            return "no signal"
        if self._pipeline.failure is not None:
            return "closed to view"
        return "idle" if self._idle else "live"

    def _work(self) -> None:
        try:
            with opencv_in_one_thread():
                for frame in self.source:
                    self._frames_in += 1
                    sinks: Sequence[Paced] = tuple(self._sinks.values())
                    self._idle = not self._listeners and not any(sink.watched for sink in sinks)
                    if self._idle or self._is_early(frame):
                        self._pipeline.leave_out(frame)
                        self._left_out += not self._idle
                        continue
                    output = self._pipeline(frame)
                    if output is None:
                        self._left_out += 1
                        continue
                    for sink in sinks:
                        sink.write(output)
                    self._count(output)
        except RtsegError as error:  # of the source, which says that waiting will not mend it
            self._error = str(error)
            log.warning("stream %s ended: %s", self.name, error)
        except BaseException as error:
            self._error = f"{type(error).__name__}: {error}"
            log.exception("stream %s ended", self.name)
        finally:
            self.source.close()
            self._pipeline.close()
            self._ended.set()

    def _count(self, output: Output) -> None:
        self._recorder.count("out")
        self._recorder.time("age", (time.monotonic() - output.frame.arrived) * 1e3)
        self._recorder.count("held", output.held)
        self._recorder.count("inferred", output.inferred)
        for stage, milliseconds in output.times.items():
            self._recorder.time(stage, milliseconds)
        self._rate.add(time.monotonic())
        for listener in self._listeners:
            try:
                listener(output)
            except Exception as error:
                log.warning("stream %s: a listener failed: %s", self.name, error)

    def _is_early(self, frame: Frame) -> bool:
        """Whether the rate is kept without this frame."""
        if not self._interval:
            return False
        if frame.arrived < self._due - self._interval / 4:
            return True
        behind = frame.arrived - self._due > self._interval
        self._due = (frame.arrived if behind else self._due) + self._interval
        return False


class _Rate:
    """Frames a second over the last three seconds."""

    _SPAN = 3.0

    def __init__(self) -> None:
        self._times: list[float] = []

    def add(self, now: float) -> None:
        self._times.append(now)
        if len(self._times) > 600:
            self._times = self._recent(now)

    def per_second(self, now: float) -> float:
        times = self._recent(now)
        return 0.0 if len(times) < 2 else (len(times) - 1) / max(times[-1] - times[0], 1e-3)

    def _recent(self, now: float) -> list[float]:
        return [time for time in list(self._times) if now - time <= self._SPAN]
