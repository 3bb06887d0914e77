"""A live stream from a source, a model's name, a scene and sinks."""

from __future__ import annotations

from collections.abc import Mapping

from rtseg.config import FilterOptions
from rtseg.live.ladder import Ladder
from rtseg.live.networks import open_networks, with_preset
from rtseg.live.paced import Paced
from rtseg.live.pipeline import LivePipeline
from rtseg.live.scene import Scene
from rtseg.live.stream import LiveStream
from rtseg.sections import ModelOptions
from rtseg.streams import Networks
from rtseg.types import Source


def open_stream(
    source: Source,
    sinks: Mapping[str, Paced],
    *,
    networks: Networks,
    model: ModelOptions | str = "portrait",
    scene: Scene | None = None,
    filters: tuple[FilterOptions, ...] | None = None,
    rate: float | None = None,
    ladder: Ladder | None = None,
    name: str = "stream",
) -> LiveStream:
    """Begin a stream; it owns source and sinks from now on, and closes them if this raises.

    scene: what is shown first; None for a blurred background, as a camera in a room should begin. networks: where
    networks are shared with other streams. rate: frames a second, for admission. The rest as in `LiveStream`.
    Raises what models, engines and the scene's pictures raise, and Overloaded.
    """
    options = ModelOptions(name=model) if isinstance(model, str) else model
    try:
        pipeline = LivePipeline(
            open_networks(networks, options, filters=filters, rate=rate),
            with_preset(Scene(background="blur") if scene is None else scene, options, filters),
            ladder=ladder,
        )
    except BaseException:
        source.close()
        for sink in sinks.values():
            sink.close()
        raise
    return LiveStream(source, pipeline, sinks, name=name)
