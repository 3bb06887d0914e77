"""The measured programs themselves, on a small clip: that each does the work it stands for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.bench import clips, device, stages
from rtseg.bench.adaptive import compare
from rtseg.bench.job import Job, Meter
from rtseg.bench.measure import run_child, run_program
from rtseg.bench.settings import ENCODER
from rtseg.bench.whole import open_job, run
from rtseg.config import SyntheticSource
from rtseg.errors import SourceUnreadable
from rtseg.ops.arrays import as_u8
from rtseg.sources.synthetic import Synthetic
from rtseg.types import Frame

SIZE = (160, 90)
FRAMES = 12
BLUR = {"effects": [{"type": "background", "paint": "blur"}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def job(folder: Path) -> Job:
    clip = clips.clip(folder, SIZE, FRAMES, None)
    encoder = ENCODER | {"threads": "1"}
    output, composited = str(folder / "out.mp4"), str(folder / "composited.i420")
    return Job(str(clip), output, FRAMES, *SIZE, clips.RATE, "", encoder, "", composited, config=BLUR)


def pictures(path: str) -> list[NDArray[np.uint8]]:
    with av.open(path) as container:
        return [as_u8(frame.to_ndarray()) for frame in container.decode(video=0)]


@pytest.mark.slow
def test_the_floor_encodes_what_rtseg_encodes(job: Job, folder: Path) -> None:
    run(replace(job, capture=True), Meter())
    meter = Meter()
    run(job, meter)
    floor = replace(job, output=str(folder / "floor.mp4"))
    assert run_program("rtseg.bench.floor", floor).report.frames == meter.report().frames == FRAMES
    ours, theirs = pictures(job.output), pictures(floor.output)
    assert len(ours) == len(theirs) == FRAMES
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_the_floor_has_no_part_of_rtseg_that_it_is_compared_with() -> None:
    script = "import sys, rtseg.bench.floor; print(*sorted(m for m in sys.modules if m.startswith('rtseg.')))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["rtseg.bench", "rtseg.bench.floor", "rtseg.bench.job", "rtseg.bench.video"]


def test_the_network_runs_once_a_frame(job: Job) -> None:
    report = run_program("rtseg.bench.network", job).report
    assert report.frames == FRAMES
    assert 0 < report.cpu_ms < 1000


def test_a_run_ends_behind_the_frames_of_its_job(job: Job) -> None:
    meter = Meter()
    run(replace(job, frames=5), meter)
    assert meter.report().frames == len(pictures(job.output)) == 5


def test_a_paced_run_is_live(job: Job) -> None:
    ready = open_job(replace(job, paced=True))
    ready.close()
    assert ready.source.live
    assert not open_job(job).source.live


def test_every_stage_is_measured(job: Job) -> None:
    found = json.loads(run_child("rtseg.bench.stages", job, "2"))
    parts = ["decode", "preprocess", "network", "segment", "postprocess", "smooth", "refine", "effect", "composite"]
    assert list(found) == [*parts, "encode"]
    assert all(ms > 0 for stage, ms in found.items() if stage != "postprocess")
    assert found["segment"] >= found["network"] / 2


def test_what_is_avoidable_is_summed_once() -> None:
    times = {"decode": 1.0, "preprocess": 0.5, "network": 4.0, "segment": 5.0, "postprocess": 0.25, "composite": 2.0}
    assert stages.overhead(times | {"encode": 8.0}) == 2.75


@pytest.fixture(scope="module")
def still(job: Job, folder: Path) -> Job:
    """One picture again and again."""
    source = SyntheticSource(graph="color=gray:size=160x90:rate=30", frames=1)
    return replace(job, clip=str(clips.clip(folder, SIZE, 6, source)), frames=6)


def test_a_still_picture_is_asked_for_once_and_keeps_its_mask(still: Job) -> None:
    found = compare(still)
    assert found.frames == 6
    assert found.asked == pytest.approx(1 / 6)
    assert (found.iou, found.least) == (1.0, 1.0)
    assert found.every_ms > 0
    assert found.adaptive_ms > 0


def test_on_the_cpu_nothing_crosses_the_bus(job: Job) -> None:
    found = device.measure(job)
    assert found["network"]["device"] == found["fused"]["device"] == "cpu"
    assert found["network"]["runs"] == found["fused"]["runs"] == FRAMES
    assert [found[name][way] for name in ("network", "fused") for way in ("up_bytes", "down_bytes")] == [0, 0, 0, 0]
    assert found["fused"]["p50_ms"] > found["network"]["p50_ms"] > 0


def test_frames_that_cannot_be_fused_are_said_to_be_so(job: Job) -> None:
    found = device.measure(replace(job, config={"model": {"name": "nuclei"}, "effects": []}))
    assert found["fused"] is None
    assert "'touching'" in found["why"]


class Card:
    """An engine on a device, of which only the buffers are looked at."""

    inputs = {"y": np.zeros((720, 1280), np.uint8), "uv": np.zeros((2, 360, 640), np.uint8)}  # noqa: RUF012
    outputs = {"mask": np.zeros((1, 1, 144, 256), np.float32)}  # noqa: RUF012

    def __init__(self, *providers: str) -> None:
        self.providers = providers


def test_on_a_device_every_bound_buffer_crosses_the_bus() -> None:
    assert device.bus_bytes(Card("cuda", "cpu")) == (1280 * 720 * 3 // 2, 144 * 256 * 4)
    assert device.bus_bytes(Card("cpu")) == (0, 0)


def test_a_clip_is_made_once_of_exactly_what_was_asked_for(tmp_path: Path) -> None:
    kept = tmp_path / "clips"
    source = SyntheticSource(graph="testsrc2=size=64x48:rate=10", frames=4)
    path = clips.clip(kept, (80, 60), 7, source)
    shown = pictures(str(path))
    assert [picture.shape for picture in shown] == [(90, 80)] * 7
    assert np.abs(shown[0].astype(int) - shown[4]).mean() < 3, "a short source starts again"
    made = path.stat().st_mtime_ns
    assert clips.clip(kept, (80, 60), 7, source) == path
    assert path.stat().st_mtime_ns == made
    assert clips.clip(kept, (80, 60), 8, source) != path
    assert not list(kept.glob("part-*"))


def test_a_clip_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Synthetic):
        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            assert list(tmp_path.glob("part-*"))
            raise SourceUnreadable("the rest is gone")

    source = Failing("testsrc2=size=64x48:rate=10", frames=80)  # more than x264 holds back
    monkeypatch.setattr(clips, "build_source", lambda _: source)
    with pytest.raises(SourceUnreadable, match="the rest is gone"):
        clips.clip(tmp_path, (80, 60), 90, SyntheticSource(graph="unused"))
    assert list(tmp_path.iterdir()) == []
