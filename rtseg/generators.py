"""rtseg in somebody else's loop: `for output in rtseg.stream(...)`, and the same for asyncio."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from os import PathLike
from typing import Literal, TypeAlias

from rtseg import store
from rtseg.auto_preset import pace_in
from rtseg.build import build, build_pipeline, settled
from rtseg.cards import Task
from rtseg.channel import Channel, Closed
from rtseg.config import Config
from rtseg.engines import build_fused, with_prompts
from rtseg.errors import ConfigError
from rtseg.options import configure
from rtseg.sections import PresetName
from rtseg.types import Frame, Output, Source

__all__ = ["astream", "stream"]

log = logging.getLogger("rtseg")

Input: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]] | Source
Policy: TypeAlias = Literal["auto", "block", "latest"]

_DEPTH = 4
"""Frames that a file's reader is ahead."""
_GRACE = 5.0
"""Seconds that the reader gets to end; a source that waits for its network ends its wait when it is closed."""


def stream(
    input: Input | None = None,  # noqa: A002 - the word that users know
    *,
    background: str | None = None,
    overlay: str | None = None,
    model: str | None = None,
    config: str | PathLike[str] | Config | None = None,
    start: float | None = None,
    end: float | None = None,
    filters: str | None = None,
    framing: str | None = None,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    adaptive: bool | None = None,
    focus: bool | None = None,
    preset: PresetName | None = None,
    subject: str | Sequence[float] | None = None,
    keep_held: bool | None = None,
    fused: bool | None = None,
    hardware: str | None = None,
    window: str | None = None,
    measure: bool | None = None,
    prompts: str | Sequence[str] | None = None,
    task: Task | None = None,
    threshold: float | None = None,
    mask_threshold: float | None = None,
    overlap_mask_area_threshold: float | None = None,
    policy: Policy = "auto",
) -> Generator[Output, None, None]:
    """A generator of outputs: `for output in rtseg.stream("in.mp4", background="blur")`.

    input: what `run` takes, or a `Source`, which is closed in the end. The other options are those of `run`; what a
    file names as sinks is not written. Without a background or an overlay the picture stays as it is and only the
    segmentation is made, as with `load_pipeline`.

    Back-pressure: a frame is segmented when the loop asks for it, in the loop's thread. One thread reads. Of a file it
    is four frames ahead at most, then waits, and every frame comes. Of a live source it keeps the newest frame only: a
    slow loop sees fewer frames and never older ones. policy: "block" or "latest" in place of what the source is.

    Leaving the loop, `close()`, and an error give source, reader and network back before they return; a source that
    waits for its network in a thread of its own ends it at its next packet or time-out. Wrong options
    raise ConfigError at the call; the model and the input are opened by the first turn of the loop, and errors of
    these, of the source and of the pipeline are raised there, after the frames before them.
    """
    configured = _configured(
        input,
        background=background,
        overlay=overlay,
        model=model,
        config=config,
        start=start,
        end=end,
        filters=filters,
        framing=framing,
        providers=providers,
        threads=threads,
        adaptive=adaptive,
        focus=focus,
        preset=preset,
        subject=subject,
        keep_held=keep_held,
        fused=fused,
        hardware=hardware,
        window=window,
        measure=measure,
        prompts=prompts,
        task=task,
        threshold=threshold,
        mask_threshold=mask_threshold,
        overlap_mask_area_threshold=overlap_mask_area_threshold,
    )
    return _Run(configured, input if isinstance(input, Source) else None, policy).outputs()


def astream(
    input: Input | None = None,  # noqa: A002
    *,
    background: str | None = None,
    overlay: str | None = None,
    model: str | None = None,
    config: str | PathLike[str] | Config | None = None,
    start: float | None = None,
    end: float | None = None,
    filters: str | None = None,
    framing: str | None = None,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    adaptive: bool | None = None,
    focus: bool | None = None,
    preset: PresetName | None = None,
    subject: str | Sequence[float] | None = None,
    keep_held: bool | None = None,
    fused: bool | None = None,
    hardware: str | None = None,
    window: str | None = None,
    measure: bool | None = None,
    prompts: str | Sequence[str] | None = None,
    task: Task | None = None,
    threshold: float | None = None,
    mask_threshold: float | None = None,
    overlap_mask_area_threshold: float | None = None,
    policy: Policy = "auto",
) -> AsyncGenerator[Output, None]:
    """The same for asyncio: `async for output in rtseg.astream("in.mp4", background="blur")`.

    Options, back-pressure and errors are those of `stream`. Opening and segmenting run in a thread of their own, so
    that the event loop goes on meanwhile; one frame is made at a time, when it is asked for.

    A cancelled task gives everything back before its CancelledError goes on, which takes as long as the frame that is
    being made. After a `break` the event loop closes the generator in its next rounds, as it does with all of them;
    `contextlib.aclosing` closes it before the block ends.
    """
    configured = _configured(
        input,
        background=background,
        overlay=overlay,
        model=model,
        config=config,
        start=start,
        end=end,
        filters=filters,
        framing=framing,
        providers=providers,
        threads=threads,
        adaptive=adaptive,
        focus=focus,
        preset=preset,
        subject=subject,
        keep_held=keep_held,
        fused=fused,
        hardware=hardware,
        window=window,
        measure=measure,
        prompts=prompts,
        task=task,
        threshold=threshold,
        mask_threshold=mask_threshold,
        overlap_mask_area_threshold=overlap_mask_area_threshold,
    )
    return _outputs_by_thread(_Run(configured, input if isinstance(input, Source) else None, policy))


def _configured(given: Input | None, **options: object) -> Config:
    """The run as data, without sinks; no effect is the default."""
    configured = configure(None if isinstance(given, Source) else given, **options)  # type: ignore[arg-type]
    if configured.source is None and not isinstance(given, Source):
        raise ConfigError("nothing to read: give an input, a Source, or a [source] table in the configuration file")
    return configured.model_copy(update={"sinks": (), "effects": configured.effects or ()})


class _Run:
    """One generator's life. `stop` may be called from any thread and ends it, also while it waits for a frame."""

    def __init__(self, config: Config, source: Source | None, policy: Policy) -> None:
        self._config, self._given, self._policy = config, source, policy
        self._stopping = threading.Event()
        self._opened: tuple[Source, Channel[Frame]] | None = None

    def outputs(self) -> Generator[Output, None, None]:
        source, pipeline, policy = self._open()
        latest = source.live if policy == "auto" else policy == "latest"
        frames: Channel[Frame] = Channel(1 if latest else _DEPTH, policy="latest" if latest else "block")
        reader = threading.Thread(target=_read, args=(source, frames), name="rtseg-reader", daemon=True)
        self._opened = (source, frames)
        try:
            reader.start()
            if self._stopping.is_set():  # since before there was anything to stop
                return
            for frame in frames:
                yield pipeline(frame)
        finally:
            self.stop()
            reader.join(_GRACE)
            if reader.is_alive():
                log.warning("%s does not end; its reader is left behind", source.info.name)

    def stop(self) -> None:
        self._stopping.set()
        if self._opened is not None:
            source, frames = self._opened
            frames.abandon()
            source.close()

    def _open(self) -> tuple[Source, Callable[[Frame], Output], Policy]:
        policy = self._config.run.policy if self._policy == "auto" else self._policy
        if self._given is None:
            job = build(self._config, more_sinks=(_Nowhere(),))
            return job.source, job.pipeline, policy
        try:
            card = with_prompts(store.find_card(self._config.model.name), self._config.model)
            configured = settled(self._config, card, pace=pace_in(self._given.info))
            return self._given, build_fused(configured.model, card, build_pipeline(configured, card=card)), policy
        except BaseException:
            self._given.close()
            raise


async def _outputs_by_thread(run: _Run) -> AsyncGenerator[Output, None]:
    outputs = run.outputs()
    thread = ThreadPoolExecutor(1, thread_name_prefix="rtseg-astream")
    waiting: Future[Output | None] | None = None
    try:
        while True:
            waiting = thread.submit(next, outputs, None)
            output = await asyncio.wrap_future(waiting)
            if output is None:
                return
            yield output
    finally:
        run.stop()  # wakes the thread where it waits for a frame
        if waiting is not None:
            waiting.cancel()
        closing = thread.submit(outputs.close)
        thread.shutdown(wait=False)
        try:
            await asyncio.shield(asyncio.wrap_future(closing))
        finally:
            thread.shutdown()  # at once, but where this was cancelled too


def _read(source: Source, frames: Channel[Frame]) -> None:
    """The reader thread: iterated and closed in one thread, as decoders want it."""
    failure: BaseException | None = None
    try:
        for frame in source:
            frames.put(frame)
    except Closed:
        pass
    except BaseException as error:
        failure = error
    finally:
        source.close()
        frames.end(failure)


class _Nowhere:
    """A sink for those who take their outputs from the loop."""

    def write(self, output: Output) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
