"""rtseg in a few lines of Python: a file through a run, or frames of one's own through a pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from os import PathLike

from rtseg.build import build, build_pipeline
from rtseg.cards import Task
from rtseg.config import Config
from rtseg.options import configure
from rtseg.pipeline import Pipeline
from rtseg.sections import PresetName
from rtseg.stats import Stats

__all__ = ["load_pipeline", "run"]


def run(
    input: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,  # noqa: A002 - the word that users know
    output: str | PathLike[str] | None = None,
    *,
    background: str | None = None,
    overlay: str | None = None,
    model: str | None = None,
    config: str | PathLike[str] | Config | None = None,
    start: float | None = None,
    end: float | None = None,
    codec: str | None = None,
    masks: str | PathLike[str] | None = None,
    records: str | PathLike[str] | None = None,
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
    stop: threading.Event | None = None,
    progress: Callable[[Stats], None] | None = None,
) -> Stats:
    """What `rtseg run` does, with the same options: read `input`, segment it, write `output`.

    input: a video, a picture, a folder of pictures, a list of pictures, a DICOM file or folder, a NIfTI file, "sample"
    or "synthetic:GRAPH". output: a video, a folder for pictures, or a picture. start, end: in seconds. stop: set it to
    end early with whole files.
    progress: called about five times a second. task, threshold, mask_threshold, overlap_mask_area_threshold: of the
    segments, as in `rtseg.segment`; an option that the model's family does not have is a ConfigError.

    Raises `RtsegError` of the kind that fits. What could be mended is no error: `Stats.status` is then "partial",
    and `Stats.counts` says what was lost.
    """
    configured = configure(
        input,
        output,
        config=config,
        model=model,
        background=background,
        overlay=overlay,
        filters=filters,
        framing=framing,
        start=start,
        end=end,
        codec=codec,
        masks=masks,
        records=records,
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
    return build(configured).run(stop=stop, progress=progress)


def load_pipeline(
    *,
    background: str | None = None,
    overlay: str | None = None,
    model: str | None = None,
    config: str | PathLike[str] | Config | None = None,
    filters: str | None = None,
    framing: str | None = None,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    adaptive: bool | None = None,
    focus: bool | None = None,
    preset: PresetName | None = None,
    subject: str | Sequence[float] | None = None,
    keep_held: bool | None = None,
    prompts: str | Sequence[str] | None = None,
    task: Task | None = None,
    threshold: float | None = None,
    mask_threshold: float | None = None,
    overlap_mask_area_threshold: float | None = None,
) -> Pipeline:
    """A pipeline for frames of one's own: call it with a `Frame`, it gives an `Output`.

    The options are those of `run`; without a background or an overlay the picture stays as it is and only the
    segmentation is made. A pipeline belongs to one stream and one thread: load another for another camera.
    Raises `RtsegError`.
    """
    configured = configure(
        config=config,
        model=model,
        background=background,
        overlay=overlay,
        filters=filters,
        framing=framing,
        providers=providers,
        threads=threads,
        adaptive=adaptive,
        focus=focus,
        preset=preset,
        subject=subject,
        keep_held=keep_held,
        prompts=prompts,
        task=task,
        threshold=threshold,
        mask_threshold=mask_threshold,
        overlap_mask_area_threshold=overlap_mask_area_threshold,
    )
    return build_pipeline(configured, pictures=False)
