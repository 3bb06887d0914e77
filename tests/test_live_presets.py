"""Presets of live streams: in the network and in the scene, and where another model is shown."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from rtseg import auto_preset, store
from rtseg.cli.live import _options, stream, webcam
from rtseg.errors import ConfigError
from rtseg.live.networks import another, live_pace
from rtseg.live.options import StreamOptions, parse_stream
from rtseg.live.stream import LiveStream
from rtseg.live.streamset import StreamSet
from rtseg.presets import Costs
from rtseg.sections import CameraSource, ModelOptions
from rtseg.types import Segmenter
from rtseg.views import Views

PATTERN = {"type": "synthetic", "graph": "testsrc2=size=160x96:rate=30", "live": True}


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[StreamSet]:
    monkeypatch.setattr(auto_preset, "_known", {})
    made = StreamSet(capacity=None)
    yield made
    made.close()


def pattern(preset: str | None, *, model: str = "portrait", **more: object) -> StreamOptions:
    table = {"name": model} if preset is None else {"name": model, "preset": preset}
    return parse_stream({"name": "door", "source": PATTERN, "model": table, **more})


def segmenter(live: LiveStream) -> Segmenter:
    return live._pipeline._network.pipeline.segmenter


def test_a_preset_is_in_the_network_and_in_the_scene(streams: StreamSet) -> None:
    live = streams.add(pattern("balanced"))
    assert isinstance(segmenter(live), Views)
    assert live.scene.background == "blur"
    assert live.scene.decontaminate
    streams.change("door", {"scene": {"background": "#0b6623"}})
    assert live.scene.decontaminate
    streams.change("door", {"scene": {"background": "#0b6623", "decontaminate": False}})
    assert not live.scene.decontaminate


def test_without_a_preset_a_stream_is_as_it_was(streams: StreamSet) -> None:
    live = streams.add(pattern(None))
    assert not isinstance(segmenter(live), Views)
    assert not live.scene.decontaminate


def test_streams_of_two_presets_share_a_network(streams: StreamSet) -> None:
    streams.add(pattern("studio"))
    streams.add(pattern("fast").model_copy(update={"name": "hall"}))
    assert len(streams.networks._known) == 1


def test_a_preset_goes_along_to_another_matte_and_stays_behind_for_others(streams: StreamSet) -> None:
    live = streams.add(pattern("studio", scene={"overlay": "all"}))
    streams.change("door", {"model": "portrait-studio"})
    assert isinstance(segmenter(live), Views)
    streams.change("door", {"model": "road"})
    assert not isinstance(segmenter(live), Views)


def test_a_preset_for_a_stream_that_is_no_matte_is_said_before_anything_opens(streams: StreamSet) -> None:
    with pytest.raises(ConfigError, match="preset 'fast' is for mattes, and model 'road' is none"):
        streams.add(pattern("fast", model="road"))
    assert streams.list() == {}
    assert not isinstance(segmenter(streams.add(pattern("auto", model="road"))), Views)


def test_auto_is_chosen_for_the_pace_of_the_stream(streams: StreamSet, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def measure(_segmenter: object, _filters: object, _network: object, size: object, **_: object) -> Costs:
        sizes.append(size)
        return Costs({1: 4.0, 2: 8.0, 4: 16.0}, 1.0, 2.0, 0.5)

    monkeypatch.setattr(auto_preset, "measure", measure)
    live = streams.add(pattern("auto", rate=15.0))
    found = segmenter(live)
    assert isinstance(found, Views)
    assert found._mirrored
    assert live.scene.decontaminate
    assert sizes == [(160, 96)]


def test_a_stream_is_no_faster_than_its_rate() -> None:
    assert live_pace(CameraSource(size=(640, 480), rate=60.0), 10.0) == ((640, 480), 10.0)
    assert live_pace(CameraSource(rate=15.0), 30.0).rate == 15.0
    assert live_pace(None, None) == auto_preset.USUAL


def test_the_lighter_network_under_load_has_the_fast_preset() -> None:
    card = store.find_card("portrait")
    assert card.lighter == "portrait-fast"
    fast = store.find_card("portrait-fast")
    options = ModelOptions(name="portrait", preset="studio")
    assert another(options, fast, "portrait-fast").preset == "fast"
    assert another(options, card, "portrait").preset == "studio"
    assert another(options, card, None) is options
    assert another(ModelOptions(), fast, "portrait-fast").preset is None


def test_a_webcam_takes_what_the_machine_can_do_and_a_stream_only_what_is_said() -> None:
    assert inspect.signature(webcam).parameters["preset"].default == "auto"
    assert inspect.signature(stream).parameters["preset"].default is None
    given = ("camera", ["camera"], "blur", None, None, None, False, None, "half rate", None, None)
    assert _options(*given).model_options.preset is None
    assert _options(*given, preset="studio").model_options.preset == "studio"
