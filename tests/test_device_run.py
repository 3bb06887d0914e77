"""A whole run whose pictures never come to the host: decoder, graph and encoder on one device, here the CPU."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import ListSink, ListSource
from on_device import SlotDevice, on_device
from written import decode, plane

from rtseg import store
from rtseg.config import ModelOptions
from rtseg.device import CPU
from rtseg.effects.background import Background
from rtseg.engines import build_segmenter
from rtseg.fused_pipeline import FusedPipeline
from rtseg.inference.engine import OrtEngine
from rtseg.pipeline import Pipeline
from rtseg.runner import run
from rtseg.sinks import codecs, encoders
from rtseg.sinks.codecs import CODECS, Codec
from rtseg.sinks.video import VideoWriter
from rtseg.sources.sample import Sample
from rtseg.types import Blur, Colour, Frame


def test_no_picture_comes_to_the_host_between_decoder_and_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    exact = {"preset": "ultrafast", "qp": "0"}
    here = Codec("x264_here", "libx264", CODECS["h264"].containers, "yuv420p", exact, takes=CPU)
    for module in (codecs, encoders):
        monkeypatch.setattr(
            module, "CODECS", {"x264_here": here, **CODECS, "h264": replace(CODECS["h264"], options=exact)}
        )
    card = store.find_card("portrait")

    def fused(kind: type[SlotDevice] | type[OrtEngine]) -> FusedPipeline:
        segmenter = build_segmenter(ModelOptions(name="portrait"), card)
        return FusedPipeline(card, Pipeline(segmenter, effects=[Background(Blur())]), kind)

    frames = [
        Frame.from_rgb(frame.rgb, colour=Colour("bt601"), index=frame.index, pts=frame.pts, time_base=frame.time_base)
        for frame in Sample(seconds=0.5, size=(322, 180), rate=30)
    ]
    counts: Counter[str] = Counter()
    pipeline, seen = fused(SlotDevice), ListSink()
    stats = run(
        ListSource([on_device(frame, counts) for frame in frames]),
        pipeline,
        [VideoWriter(tmp_path / "device.mp4"), seen],
    )
    run(ListSource(frames), fused(OrtEngine), [VideoWriter(tmp_path / "host.mp4")])
    assert (stats.frames_out, stats.status) == (len(frames), "done")
    assert not counts, "a decoded picture came to the host"
    assert not pipeline.counts, "a finished picture came to the host"
    found, expected = decode(tmp_path / "device.mp4"), decode(tmp_path / "host.mp4")
    assert [frame.pts for frame in found] == [frame.pts for frame in expected]
    for a, b in zip(found, expected, strict=True):
        for index in range(3):
            np.testing.assert_array_equal(plane(a, index), plane(b, index))
