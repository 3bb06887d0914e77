from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

import rtseg

SAMPLE = {"source": {"type": "sample", "seconds": 0.2, "size": [160, 90], "rate": 30}}


def test_a_file_goes_through_in_one_call(tmp_path: Path) -> None:
    written = tmp_path / "out.mp4"
    seen: list[rtseg.Stats] = []
    stats = rtseg.run(None, written, config=rtseg.parse_config(SAMPLE), background="blur", progress=seen.append)
    assert (stats.status, stats.frames_in, stats.frames_out) == ("done", 6, 6)
    assert seen[-1] == stats
    capture = cv2.VideoCapture(str(written))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 6


@pytest.mark.parametrize("length", range(8, 22))
def test_the_last_frame_is_shown_whatever_the_length(tmp_path: Path, length: int) -> None:
    """Encoders reorder frames, and the file's edit list must not end before the one that is shown last."""
    written = tmp_path / "out.mp4"
    source = {"type": "synthetic", "graph": "testsrc2=size=64x64:rate=10", "frames": length}
    stats = rtseg.run(None, written, config=rtseg.parse_config({"source": source}), background="none")
    with av.open(str(written)) as container:
        times = [frame.time for frame in container.decode(video=0)]
        assert container.duration == length * 100_000
    assert times == pytest.approx([index / 10 for index in range(length)])
    assert stats.frames_out == length


def test_frames_of_ones_own_come_back_with_a_background() -> None:
    pipeline = rtseg.load_pipeline(background="#00ff00")
    frame = next(iter(sample_frames()))
    output = pipeline(rtseg.Frame.from_bgr(frame.bgr))
    picture = output.picture.bgr
    assert picture.shape == frame.bgr.shape
    corner, face = picture[5, 5].astype(int), picture[25, 85].astype(int)
    assert corner[1] > 240
    assert corner[0] < 10
    assert np.abs(face - frame.bgr[25, 85]).max() < 30, "the person is as she was"


def test_without_effects_the_picture_is_the_frame_itself() -> None:
    pipeline = rtseg.load_pipeline(filters="none")
    frame = next(iter(sample_frames()))
    output = pipeline(frame)
    assert output.picture is frame
    assert rtseg.masks_of(output.segmentation)["person"].max() == 255


def test_all_is_said_in_rtsegs_own_errors() -> None:
    with pytest.raises(rtseg.ConfigError, match="nothing to read"):
        rtseg.run()
    with pytest.raises(rtseg.ConfigError, match="nothing to write"):
        rtseg.run("sample")
    with pytest.raises(rtseg.ModelError, match="did you mean portrait"):
        rtseg.load_pipeline(model="portait")


def sample_frames() -> rtseg.Source:
    from rtseg.sources.sample import Sample

    return Sample(seconds=0.1, size=(160, 90))
