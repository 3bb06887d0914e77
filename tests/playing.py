"""Plays a pipeline of GStreamer with the element in it; run by the system's Python, which has GStreamer's bindings.

arguments: the pipeline, with an `appsink name=out`, and a JSON list of what to set before which picture:
[[2, "background", "#ff0000"], [5, "fault", 0], ...], where "fault" breaks the segmenter. Prints a line of JSON: pts and
the mean of each plane of every picture, messages, the latency, and how far memory grew between the pictures 200 and the
last.
"""

import json
import sys
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo  # noqa: E402


def main(description: str, changes: list[list[Any]]) -> dict[str, Any]:
    Gst.init(None)
    pipeline = Gst.parse_launch(description)
    out, element = pipeline.get_by_name("out"), pipeline.get_by_name("it")
    pipeline.set_state(Gst.State.PLAYING)
    pictures: list[list[float]] = []
    latency, memory = None, 0
    try:
        while True:
            for name, value in [change[1:] for change in changes if change[0] == len(pictures)]:
                if name == "fault":
                    element.look._pipeline._network.pipeline.segmenter = Broken()
                else:
                    element.set_property(name, value)
            sample = out.emit("try-pull-sample", 20 * Gst.SECOND)
            if sample is None:
                break
            if latency is None:
                query = Gst.Query.new_latency()
                latency = query.parse_latency()[:2] if pipeline.query(query) else [False, 0]
            pictures.append([sample.get_buffer().pts, *means(sample)])
            if len(pictures) == 200:
                memory = resident()
        messages = []
        while (message := pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR | Gst.MessageType.WARNING)) is not None:
            parse = message.parse_error if message.type == Gst.MessageType.ERROR else message.parse_warning
            messages.append([message.type.first_value_nick, parse()[0].message])
    finally:
        pipeline.set_state(Gst.State.NULL)
    grown = resident() - memory if memory else 0
    return {"pictures": pictures, "messages": messages, "latency": latency, "grown": grown}


class Broken:
    """A segmenter with a bug."""

    names = ("person",)

    def __call__(self, _frame: Any) -> Any:
        raise ZeroDivisionError("a bug")

    def reset(self) -> None:
        pass


def means(sample: Any) -> list[float]:
    import numpy as np

    from rtseg.gstreamer.memory import Format, Layout, read_planes
    from rtseg.types import Size

    info = GstVideo.VideoInfo.new_from_caps(sample.get_caps())
    name: Format = "NV12" if info.finfo.format == GstVideo.VideoFormat.NV12 else "I420"
    layout = Layout(name, Size(info.width, info.height), tuple(info.offset), tuple(info.stride))
    with sample.get_buffer().map(Gst.MapFlags.READ) as data:
        return [float(plane.mean()) for plane in read_planes(np.frombuffer(data.data, np.uint8), layout)]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
