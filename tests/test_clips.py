"""The promise of the file path, on real footage: every frame, every timestamp and every audio packet."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import pytest

from rtseg.build import build
from rtseg.options import configure

SIGNS = [
    "again",
    "book",
    "brother",
    "eat",
    "help",
    "learn",
    "night",
    "no",
    "school",
    "sister",
    "student",
    "walk",
    "yes",
]
CLIPS = [
    "people/outdoor_thoughtful.mp4",
    "people/walk_through_room.mp4",
    *(f"people/sign_{word}.mkv" for word in SIGNS),
    "road/highway_dusk.mp4",
    "road/highway_traffic.mp4",
    "road/highway_white.mp4",
]


class Streams(NamedTuple):
    """What of a file must survive: video times in seconds, and each audio packet's time, duration and bytes."""

    video: list[Fraction]
    tick: Fraction
    audio: list[tuple[Fraction, Fraction, bytes]]


def streams_of(path: Path) -> Streams:
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        tick = Fraction(video.time_base or 0)
        times = [frame.pts * tick for frame in container.decode(video) if frame.pts is not None]
    audio = []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.audio) if container.streams.audio else ():
            if packet.pts is not None and packet.time_base is not None:
                unit = packet.time_base
                audio.append((packet.pts * unit, (packet.duration or 0) * unit, bytes(packet)))
    return Streams(times, tick, audio)


def test_all_clips_are_listed(shared: Path) -> None:
    found = {str(path.relative_to(shared / "clips")) for path in (shared / "clips").rglob("*.m*")}
    assert found == set(CLIPS)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_its_time_and_the_audio_come_out(name: str, shared: Path, tmp_path: Path) -> None:
    path, written = shared / "clips" / name, tmp_path / "out.mp4"
    model = "road-fast" if name.startswith("road") else "portrait"
    # The short ones with the default encoder, which has B-frames and reorders.
    codec = None if "sign_" in name else "h264:preset=ultrafast,tune=zerolatency"
    stats = build(configure(path, written, model=model, codec=codec)).run()
    before, after = streams_of(path), streams_of(written)
    assert stats.status == "done"
    assert stats.frames_in == stats.frames_out == len(before.video) == len(after.video)
    worst = max(abs(out - into) for into, out in zip(before.video, after.video, strict=True))
    assert worst <= before.tick, f"{float(worst / before.tick):.2f} ticks"
    assert after.audio == before.audio
