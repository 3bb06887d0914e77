"""Whether a decoder's motion vectors could move masks in place of optical flow: cost and quality within `Adaptive`.

    python -m benchmarks.vectors CLIP... [--frames 300]

Each clip is taken as it is and encoded anew without B-frames and with one reference, where every vector surely leads
to the frame before: the best that vectors can be. Three ways to move a mask: optical flow (DIS, what `--adaptive`
uses), vectors, and not at all. For each: the share of frames that the network saw, the IoU with the masks of every
frame, its mean over the moved frames and the least, and CPU-ms: of each decoded frame for exporting vectors, and of
each moved frame for reading them and for the flow, or for the field that is made of them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.codec.context import Flags2
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

from benchmarks.measure import machine
from rtseg import store
from rtseg.adaptive import Adaptive
from rtseg.config import ModelOptions
from rtseg.engines import build_segmenter
from rtseg.frame import Frame
from rtseg.ops.arrays import F32, U8, as_f32
from rtseg.ops.flow import FLOW_SIZE, Flow
from rtseg.sources.planes import PlaneReader
from rtseg.types import Regions

_CELL = 4
"""Pixels of the frame that one vector of a field stands for, each way: the smallest block of H.264."""


class Vectors(Flow):
    """`Flow` from motion vectors: fields of single frames, added up from the last frame that the network saw."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._fields: list[av.VideoFrame] = []
        self.ms: list[float] = []
        self.read: list[float] = []

    def begin(self) -> None:
        """The network was asked."""
        self._fields = []

    def add(self, frame: av.VideoFrame) -> None:
        """A frame was decoded; its vectors are read only if they are needed."""
        self._fields.append(frame)

    def __call__(self, current: U8, previous: U8) -> F32:
        """As `Flow`: where what is in `current` was in `previous`."""
        del current, previous
        started = time.process_time()
        vectors = [_vectors(frame) for frame in self._fields]
        self.read.append(1e3 * (time.process_time() - started))
        started = time.process_time()
        total = np.zeros((FLOW_SIZE[1], FLOW_SIZE[0], 2), np.float32)
        grid = np.indices(total.shape[:2], np.float32)[::-1].transpose(1, 2, 0)
        for part in reversed(vectors):
            step = self._field(part)
            total += cv2.remap(step, grid + total, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        self.ms.append(1e3 * (time.process_time() - started))
        return total

    def _field(self, vectors: NDArray[Any] | None) -> F32:
        """The field of one frame, float32 HxWx2 of `FLOW_SIZE`; 0 where a block has no vector to the past."""
        width, height = self._size
        cells = np.zeros((-(-height // _CELL), -(-width // _CELL), 2), np.float32)
        if vectors is not None:
            vectors = vectors[vectors["source"] < 0]
            moved = np.stack([vectors["motion_x"], vectors["motion_y"]], axis=1) / vectors["motion_scale"][:, None]
            for w, h in {(int(w), int(h)) for w, h in zip(vectors["w"], vectors["h"], strict=True)}:
                chosen = (vectors["w"] == w) & (vectors["h"] == h)
                x = (vectors["dst_x"][chosen].astype(np.intp) - w // 2) // _CELL
                y = (vectors["dst_y"][chosen].astype(np.intp) - h // 2) // _CELL
                for dy in range(max(1, h // _CELL)):
                    for dx in range(max(1, w // _CELL)):
                        inside = (y + dy < cells.shape[0]) & (x + dx < cells.shape[1])
                        cells[(y + dy)[inside], (x + dx)[inside]] = moved[chosen][inside]
        field = as_f32(cv2.resize(cells, FLOW_SIZE, interpolation=cv2.INTER_AREA))
        return field * np.array([FLOW_SIZE[0] / width, FLOW_SIZE[1] / height], np.float32)


def _vectors(frame: av.VideoFrame) -> NDArray[Any] | None:
    """Those of a frame, None for a key frame, as FFmpeg's AVMotionVector has them."""
    side_data: Any = frame.side_data  # whose stubs know no keys but texts
    data = side_data.get(Type.MOTION_VECTORS)
    return None if data is None else np.asarray(data.to_ndarray())


class Timed(Flow):
    """The optical flow, with its CPU-ms."""

    def __init__(self) -> None:
        super().__init__()
        self.ms: list[float] = []
        self.read = [0.0]

    def __call__(self, current: U8, previous: U8) -> F32:
        """As `Flow`."""
        started = time.process_time()
        found = super().__call__(current, previous)
        self.ms.append(1e3 * (time.process_time() - started))
        return found


class Still(Timed):
    """No motion."""

    def __call__(self, current: U8, previous: U8) -> F32:
        """As `Flow`, and 0 everywhere."""
        del current, previous
        self.ms.append(0.0)
        return np.zeros((FLOW_SIZE[1], FLOW_SIZE[0], 2), np.float32)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vectors", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="portrait")
    parser.add_argument("--frames", type=int, default=300)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    print("| clip | coded | moved by | network asked | IoU mean | of moved | least | export ms | read ms | ms |")
    print("|---|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for clip in options.clips:
        with tempfile.TemporaryDirectory() as folder:
            plain = _encoded(clip, Path(folder) / "plain.mkv", options.frames)
            for name, path in (("as it is", clip), ("no B-frames", plain)):
                for row in _rows(path, options.model, options.frames):
                    print(f"| {clip.stem} | {name} | {row}", flush=True)
    print(f"\n{machine()['cpu']}, commit {machine()['commit'][:12]}")
    return 0


def _rows(path: Path, model: str, frames: int) -> Iterator[str]:
    segment = build_segmenter(ModelOptions(name=model), store.find_card(model))
    pictures = [(frame, raw) for raw, frame in _decoded(path, frames)]
    flows: dict[str, Timed | Vectors] = {
        "optical flow": Timed(),
        "vectors": Vectors(pictures[0][0].size),
        "nothing": Still(),
    }
    truths = [segment(frame) for frame, _ in pictures]
    export = _export_ms(path, frames)
    for name, flow in flows.items():
        adaptive = Adaptive()
        adaptive._flow = flow
        overlaps, moved, asked = [], [], 0
        for (frame, raw), truth in zip(pictures, truths, strict=True):
            if isinstance(flow, Vectors):
                flow.add(raw)
            found = adaptive(frame)
            if found is None:
                asked += 1
                adaptive.made(frame, truth, filtered=truth)
                if isinstance(flow, Vectors):
                    flow.begin()
                found = truth
            assert isinstance(found, Regions)
            assert isinstance(truth, Regions)
            overlap = _overlap(found.probabilities > 127, truth.probabilities > 127)
            overlaps.append(overlap)
            if found is not truth and not adaptive.kept:
                moved.append(overlap)
        yield (
            f"{name} | {asked / len(overlaps):.2f} | {statistics.mean(overlaps):.4f} | "
            f"{statistics.mean(moved) if moved else 1.0:.4f} | {min(overlaps):.3f} | "
            f"{export if isinstance(flow, Vectors) else 0.0:.3f} | {statistics.median(flow.read):.3f} | "
            f"{statistics.median(flow.ms):.3f} |"
        )


def _decoded(path: Path, frames: int) -> Iterator[tuple[av.VideoFrame, Frame]]:
    planes = PlaneReader()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.flags2 |= Flags2.export_mvs
        for raw in islice(container.decode(stream), frames):
            picture, colour, _ = planes(raw)
            yield raw, Frame(picture, colour, pts=raw.pts or 0)


def _export_ms(path: Path, frames: int) -> float:
    """What exporting adds to decoding, CPU-ms a frame: the median of five rounds in turn."""
    rounds = [(_decode_ms(path, frames, export=True) - _decode_ms(path, frames, export=False)) for _ in range(5)]
    return statistics.median(rounds)


def _decode_ms(path: Path, frames: int, *, export: bool) -> float:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        if export:
            stream.codec_context.flags2 |= Flags2.export_mvs
        started = time.process_time()
        count = sum(1 for _ in islice(container.decode(stream), frames))
        return 1e3 * (time.process_time() - started) / count


def _encoded(clip: Path, path: Path, frames: int) -> Path:
    """The clip by x264 as conferences send it: no B-frames, one reference, no lookahead."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        out = target.add_stream("libx264", rate=stream.average_rate or Fraction(30))
        out.width, out.height, out.pix_fmt = stream.width, stream.height, "yuv420p"
        out.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "23", "x264-params": "ref=1:bframes=0"}
        for frame in islice(source.decode(stream), frames):
            frame.pict_type = av.video.frame.PictureType.NONE
            target.mux(out.encode(frame))
        target.mux(out.encode(None))
    return path


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union > 500 else 1.0


if __name__ == "__main__":
    sys.exit(main())
