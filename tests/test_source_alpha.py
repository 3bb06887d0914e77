"""Alpha of videos, which FFmpeg keeps in several ways and in one of them forgets."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from media import fill, picture, samples, write_video

from rtseg.sources.video import VideoFile


def cut_out(index: int, pixel_format: str) -> av.VideoFrame:
    """A picture with a clear left half, an opaque right one, and a bar between them that moves."""
    frame = picture(index, pixel_format="yuva444p" if "444" in pixel_format else "yuva420p")
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, 32:] = 255
    alpha[:, 16 : 24 + index] = 128
    fill(frame.planes[3], alpha)
    return frame.reformat(format=pixel_format)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix", "options"),
    [
        ("ffv1", "yuva420p", "mkv", {}),
        ("qtrle", "argb", "mov", {}),
        ("png", "rgba", "mov", {}),
        ("prores_ks", "yuva444p10le", "mov", {"profile": "4444", "alpha_bits": "16"}),
    ],
)
def test_lossless_alpha_is_kept_to_the_level(
    codec: str, pixel_format: str, suffix: str, options: dict[str, str], tmp_path: Path
) -> None:
    expected = [samples(cut_out(index, "yuva444p"))[3] for index in range(3)]
    frames = [cut_out(index, pixel_format) for index in range(3)]
    tolerance = 1 if pixel_format in ("argb", "rgba") else 0  # swscale's, on the way to RGB
    path = write_video(tmp_path / f"a.{suffix}", frames, codec=codec, options=options)
    for frame, alpha in zip(VideoFile(path), expected, strict=True):
        assert frame.alpha is not None
        assert np.abs(frame.alpha.astype(int) - alpha).max() <= tolerance


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx"])
def test_the_alpha_of_webm_is_decoded(codec: str, tmp_path: Path) -> None:
    """In a stream of its own beside the picture's, which FFmpeg's own decoders do not look at. It is lossy."""
    frames = [cut_out(index, "yuva420p") for index in range(5)]
    expected = [samples(frame) for frame in frames]
    options = {"crf": "4", "b:v": "2M", "auto-alt-ref": "0", "deadline": "good"}
    source = VideoFile(write_video(tmp_path / "a.webm", frames, codec=codec, options=options))
    decoded = list(source)
    assert [round(frame.time * 25) for frame in decoded] == list(range(5))
    for frame, planes in zip(decoded, expected, strict=True):
        assert frame.alpha is not None
        assert np.abs(frame.alpha.astype(int) - planes[3]).mean() < 3
        assert np.abs(frame.planes[0].astype(int) - planes[0]).mean() < 3


def test_videos_without_alpha_have_none(tmp_path: Path) -> None:
    for codec in ("libvpx-vp9", "ffv1"):
        path = write_video(tmp_path / f"{codec}.mkv", [picture(index) for index in range(2)], codec=codec)
        assert [frame.alpha for frame in VideoFile(path)] == [None, None]
