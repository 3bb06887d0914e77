from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from commands import Rtseg, runner

import rtseg as package


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str]) -> Rtseg:
    return runner(capsys)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Nine frames of the sample, small."""
    source = {"type": "sample", "seconds": 0.9, "size": [320, 180], "rate": 10}
    package.run(None, tmp_path / "in.mp4", config=package.parse_config({"source": source}), background="none")
    return tmp_path / "in.mp4"


def test_the_demo_leaves_a_video_and_a_sheet_of_four_panels(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    result = rtseg("demo", clip, "-o", tmp_path / "new" / "out")
    assert result.code == 0
    words = result.out.split()
    assert set(words) >= {"stage", "read", "segment", "filter", "effect", "composite", "write", "latency"}
    with av.open(str(tmp_path / "new" / "out" / "demo.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 9
    sheet = cv2.imread(str(tmp_path / "new" / "out" / "demo-sheet.png"))
    assert sheet is not None
    captions, panels = sheet[:34], sheet[34:-12]
    assert panels.shape == (270, 4 * 480 + 5 * 12, 3)
    shown, mask, blurred, replaced = (panels[:, 12 + i * 492 :][:, :480].astype(int) for i in range(4))
    for i in range(4):
        assert captions[:, 12 + i * 492 :][:, :480].min() < 60, "a caption is there"
    inside, outside = mask[..., 0] > 250, mask[..., 0] < 5
    assert 0.2 < inside.mean() < 0.7
    assert np.abs(blurred - shown)[inside].mean() < 2 < np.abs(blurred - shown)[outside].mean()
    assert np.abs(replaced - shown)[inside].mean() < 2
    assert np.abs(replaced - shown)[outside].mean() > 30


def test_what_cannot_be_shown_leaves_nothing(rtseg: Rtseg, tmp_path: Path) -> None:
    result = rtseg("demo", tmp_path / "missing.mp4", "-o", tmp_path / "out")
    assert result.code == 5
    assert "missing.mp4" in result.error()
    assert list((tmp_path / "out").iterdir()) == []
