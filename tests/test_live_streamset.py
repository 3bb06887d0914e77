"""Streams by name: from a file of options, added, changed, removed, with one network between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from room import until

from rtseg.errors import ConfigError, ModelNotFound, SourceNotFound
from rtseg.live.ladder import Rung
from rtseg.live.options import StreamOptions, parse_stream, read_streams
from rtseg.live.playback import Playback
from rtseg.live.scene import Scene
from rtseg.live.streamset import StreamSet
from rtseg.sections import NullSink, VideoSink
from rtseg.sources.synthetic import Synthetic

PATTERN = {"type": "synthetic", "graph": "testsrc2=size=160x96:rate=30", "live": True}


@pytest.fixture
def streams() -> Iterator[StreamSet]:
    made = StreamSet(capacity=None)
    yield made
    made.close()


def pattern(name: str = "door", **more: object) -> StreamOptions:
    return parse_stream({"name": name, "source": PATTERN, "sinks": [{"type": "null"}], **more})


def test_a_file_of_streams_is_read(tmp_path: Path) -> None:
    file = tmp_path / "streams.toml"
    file.write_text(
        """
        capacity = 0.5
        [[streams]]
        name = "door"
        source = "clip.mp4"
        loop = true
        rate = 15
        lowest = "adaptive"
        sinks = [{ type = "video", path = "door.mp4" }]
        scene = { background = "blur:4", mirror = true }
        [[streams]]
        name = "road"
        model = "road"
        source = { type = "synthetic", graph = "testsrc2" }
        """
    )
    found = read_streams(file)
    assert found.capacity == 0.5
    door, road = found.streams
    assert door.scene == Scene(background="blur:4", mirror=True)
    assert door.lowest_rung is Rung.ADAPTIVE
    assert isinstance(door.sinks[0], VideoSink)
    assert road.model_options.name == "road"
    assert road.scene is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[streams]]\nname = 'a'", "streams.0.source: field required"),
        ("[[streams]]\nname = 'a b'\nsource = 'x'", "streams.0.name = 'a b'"),
        ("[[streams]]\nsource = 'x'\nblur = 3", "'?blur'? ?= 3 is an unknown key: allowed are name, source"),
        ("[[streams]]\nsource = 'x'\n[streams.scene]\nblurr = 3", "unknown key: allowed are background, overlay"),
        ("[[streams]]\nsource = 'x'\nlowest = 'none'", "lowest = 'none'.*'half rate'"),
        ("[[streams]]\nsource = 'x'\n[[streams]]\nsource = 'y'", "two streams are named 'stream'"),
        ("[[streams]", "is not TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "streams.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_streams(file)
    assert "\n" not in str(caught.value)


def test_streams_of_one_model_share_a_network_and_end_alone(streams: StreamSet) -> None:
    for name in ("one", "two"):
        streams.add(pattern(name))
    until(lambda: all(status.frames_out > 3 for status in streams.list().values()))
    assert len(streams.networks._known) == 1
    streams.remove("one")
    before = streams.list()["two"].frames_out
    until(lambda: streams.list()["two"].frames_out > before + 3)
    assert list(streams.list()) == ["two"]
    with pytest.raises(KeyError):
        streams.remove("one")


def test_a_name_is_given_once(streams: StreamSet) -> None:
    streams.add(pattern())
    with pytest.raises(ConfigError, match="'door' already"):
        streams.add(pattern())


def test_what_cannot_begin_leaves_nothing(streams: StreamSet, tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(ModelNotFound):
        streams.add(pattern(model="no-such-model"))
    with pytest.raises(SourceNotFound):
        streams.add(pattern(source=str(tmp_path / "missing.mp4")))
    with pytest.raises(ConfigError, match="hides nothing"):
        streams.add(pattern(scene={"background": "none"}))
    assert streams.list() == {}
    until(lambda: threading.active_count() <= before)


def test_people_are_blurred_and_roads_get_colours_where_nobody_says_how(streams: StreamSet) -> None:
    assert streams.add(pattern("person")).scene == Scene(background="blur")
    assert streams.add(pattern("road", model="road")).scene == Scene(overlay="all")


def test_scene_model_and_sinks_change_while_the_stream_runs(streams: StreamSet) -> None:
    stream = streams.add(pattern())
    until(lambda: stream.status().frames_out > 2)
    streams.change("door", {"scene": {"background": "#00ff00"}})
    streams.change("door", {"model": "portrait-fast"})
    streams.change("door", {"sinks": [{"type": "null"}, {"type": "images", "folder": "unused"}][:1]})
    assert streams.get("door") is stream
    before = stream.status().frames_out
    until(lambda: stream.status().frames_out > before + 2)
    status = stream.status()
    assert (status.scene.background, status.model) == ("#00ff00", "portrait-fast")
    assert streams.options("door").model == "portrait-fast"
    assert streams.options("door").sinks == (NullSink(),)


def test_another_source_begins_the_stream_anew_with_its_scene(streams: StreamSet) -> None:
    first = streams.add(pattern(scene={"background": "#00ff00"}))
    streams.change("door", {"source": {**PATTERN, "graph": "testsrc2=size=96x64:rate=30"}})
    second = streams.get("door")
    assert second is not first
    assert second.scene.background == "#00ff00"
    until(lambda: second.status().frames_out > 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scene": {"background": "missing.png"}}, r"missing\.png"),
        ({"scene": {"colour": 3}}, "unknown key"),
        ({"model": "no-such-model"}, "no-such-model"),
        ({"source": "missing.mp4"}, r"missing\.mp4"),
        ({"sinks": [{"type": "nowhere"}]}, "nowhere"),
        ({"colour": 1}, "unknown key"),
        ({"model": "portrait-fast", "scene": {"background": "missing.png"}}, r"missing\.png"),
        ({"model": "portrait-fast", "sinks": [{"type": "nowhere"}]}, "nowhere"),
    ],
)
def test_a_wish_that_cannot_be_changes_nothing(streams: StreamSet, values: dict[str, object], message: str) -> None:
    before = streams.add(pattern()) and streams.options("door")
    with pytest.raises(Exception, match=message):
        streams.change("door", values)
    assert streams.options("door") == before
    assert streams.list()["door"].model == "portrait"
    out = streams.list()["door"].frames_out
    until(lambda: streams.list()["door"].frames_out > out)


def test_closing_ends_every_thread() -> None:
    before = threading.active_count()
    made = StreamSet(capacity=None)
    for name in ("one", "two", "three"):
        made.add(pattern(name))
    until(lambda: all(status.frames_out for status in made.list().values()))
    made.close()
    until(lambda: threading.active_count() <= before)
    with pytest.raises(ConfigError, match="being ended"):
        made.add(pattern())


def test_a_file_plays_at_its_own_pace_and_ends() -> None:
    playback = Playback(lambda: Synthetic("testsrc2=size=64x36:rate=20", frames=10))
    started = time.monotonic()
    frames = list(playback)
    assert time.monotonic() - started == pytest.approx(0.45, abs=0.2)
    assert [frame.index for frame in frames] == list(range(10))


def test_a_loop_goes_on_in_time_with_an_epoch_a_round() -> None:
    playback = Playback(lambda: Synthetic("testsrc2=size=64x36:rate=10", frames=4), loop=True)
    frames = []
    for frame in playback:
        frames.append(frame)
        if len(frames) == 10:
            playback.close()
    seconds = [float(frame.pts * frame.time_base) for frame in frames]
    assert seconds == pytest.approx([index / 10 for index in range(10)], abs=1e-3)
    assert [frame.epoch for frame in frames] == [0] * 4 + [1] * 4 + [2] * 2
    assert [frame.index for frame in frames] == list(range(10))


def test_a_slow_taker_misses_frames_and_not_the_beat() -> None:
    playback = Playback(lambda: Synthetic("testsrc2=size=64x36:rate=50", frames=30))
    started, frames = time.monotonic(), 0
    for _ in playback:
        time.sleep(0.1)
        frames += 1
    assert time.monotonic() - started < 1.2
    assert frames + playback.counts["dropped_by_source"] == 30
