"""Mattes to look at: frames of clips as they are, and before green by the bare mask and by presets.

    python -m benchmarks.matte_sheet CLIP... [--background green] [--frames 1] -o sheet.png

Of each clip so many frames, spread over it, each after twenty frames that smoothing needs; a row a frame.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rtseg.api import load_pipeline
from rtseg.ops.arrays import U8, as_u8
from rtseg.pipeline import Pipeline
from rtseg.sources.video import VideoFile

WAYS: dict[str, dict[str, Any]] = {
    "bare": {"filters": "none"},
    "balanced": {"preset": "balanced"},
    "studio": {"preset": "studio"},
}
BEFORE = 20
WIDTH = 480


def rows(clip: Path, count: int, background: str) -> list[U8]:
    """BGR rows: the frame, and what each way makes of it."""
    with contextlib.closing(VideoFile(clip)) as video:
        total = sum(1 for _ in video)
    found = []
    for index in range(count):
        at = total * (index + 1) // (count + 1)
        made = [_picture(clip, at, load_pipeline(background=background, **options)) for options in WAYS.values()]
        found.append(np.hstack([made[0][0], *(shown for _, shown in made)]))
    return [as_u8(row) for row in found]


def _picture(clip: Path, at: int, pipeline: Pipeline) -> tuple[U8, U8]:
    with contextlib.closing(VideoFile(clip)) as video:
        for frame in itertools.islice(video, max(0, at - BEFORE), at + 1):
            output = pipeline(frame)
    return _small(output.frame.bgr), _small(output.picture.bgr)


def _small(bgr: U8) -> U8:
    return as_u8(cv2.resize(bgr, (WIDTH, WIDTH * bgr.shape[0] // bgr.shape[1]), interpolation=cv2.INTER_AREA))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.matte_sheet", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--background", default="green")
    parser.add_argument("--frames", type=int, default=1, help="of each clip")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    made = [row for clip in options.clips for row in rows(clip, options.frames, options.background)]
    cv2.imwrite(str(options.output), np.vstack(made))
    print(f"{options.output}: {len(made)} frames; columns are the frame, {', '.join(WAYS)}")


if __name__ == "__main__":
    main()
