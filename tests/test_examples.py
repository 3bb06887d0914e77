"""The programs in examples/ do what they say."""

from __future__ import annotations

import asyncio
import runpy
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from footage import moving, write_video

import rtseg

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / name))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "in.mp4"
    source = {"type": "sample", "seconds": 0.4, "size": [160, 90], "rate": 20}
    rtseg.run(None, path, config=rtseg.parse_config({"source": source}), background="none")
    return path


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text()
    assert all(f'"{path.name}"' in text for path in EXAMPLES.glob("*.py"))


def test_pyav_gets_the_overlay_at_the_times_of_its_own_frames(tmp_path: Path) -> None:
    pts = [0, 1, 4, 5]
    path = write_video(tmp_path / "in.mp4", moving(4, (64, 48)), pts=pts)
    assert example("pyav_overlay.py")["main"](str(path), str(tmp_path / "out.mp4")) == 4
    with av.open(str(path)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        times = [[frame.time for frame in container.decode(video=0)] for container in (before, after)]
    assert times[1] == pytest.approx(times[0])


def test_what_pyav_encodes_is_the_pipelines_picture() -> None:
    module = example("pyav_overlay.py")
    picture = rtseg.Frame.from_rgb(np.random.default_rng(0).integers(0, 256, (34, 50, 3), np.uint8), pts=7)
    frame = module["as_av"](picture)
    for plane, wanted in zip(frame.planes, picture.planes, strict=True):
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        np.testing.assert_array_equal(lines[: wanted.shape[0], : wanted.shape[1]], wanted)
    assert (frame.pts, frame.time_base) == (7, picture.time_base)


def test_asyncio_says_that_somebody_is_there(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asyncio.run(example("asyncio_events.py")["main"](str(sample))) == 1
    assert capsys.readouterr().out == "   0.00 s  somebody is there\n"
