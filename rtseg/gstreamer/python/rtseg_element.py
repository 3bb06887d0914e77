"""What GStreamer's loader of Python plug-ins reads: the element `rtseg`.

It runs in the system's Python, in whatever process GStreamer is; of rtseg nothing is imported before the element
starts, since each scan of plug-ins loads this file.
"""

from __future__ import annotations

import gc
import logging
import sys
from typing import Any

import gi

for _library in ("Gst", "GstBase", "GstVideo"):
    gi.require_version(_library, "1.0")
from gi.repository import GLib, GObject, Gst, GstBase, GstVideo  # noqa: E402

log = logging.getLogger("rtseg")

_CAPS = Gst.Caps.from_string("video/x-raw, format=(string){ I420, NV12 }, width=[2, 8192], height=[2, 8192]")
_MATRICES: dict[Any, Any] = {
    GstVideo.VideoColorMatrix.BT601: "bt601",
    GstVideo.VideoColorMatrix.FCC: "bt601",
    GstVideo.VideoColorMatrix.BT709: "bt709",
    GstVideo.VideoColorMatrix.SMPTE240M: "bt709",
    GstVideo.VideoColorMatrix.BT2020: "bt2020",
}
_UNKNOWN_RANGE, _FULL_RANGE = GstVideo.VideoColorRange(0), GstVideo.VideoColorRange(1)  # 0_255 is no name in Python
_WRITABLE = GObject.ParamFlags.READWRITE | Gst.PARAM_MUTABLE_PLAYING


def _wish(kind: type, name: str, default: object, blurb: str, **limits: object) -> Any:
    """A property that is one of `rtseg.gstreamer.look.Wishes`, changeable while the element plays."""
    return GObject.Property(
        getter=lambda element: element.wishes.get(name, default),
        setter=lambda element, value: element.want(name, value),
        type=kind,
        default=default,
        nick=name,
        blurb=blurb,
        flags=_WRITABLE,
        **limits,
    )


class Rtseg(GstVideo.VideoFilter):  # type: ignore[misc]
    """Segments video and composites it, in its own planes: I420 and NV12 go through as they are.

    What comes is mapped, not copied; the composite is copied once, into a buffer of the pool downstream.
    """

    __gtype_name__ = "Rtseg"
    __gstmetadata__ = (
        "Video segmentation",
        "Filter/Effect/Video",
        "Replaces backgrounds and draws what a network sees",
        "rtseg",
    )
    __gsttemplates__ = tuple(
        Gst.PadTemplate.new(name, direction, Gst.PadPresence.ALWAYS, _CAPS)
        for name, direction in (("sink", Gst.PadDirection.SINK), ("src", Gst.PadDirection.SRC))
    )

    background = _wish(str, "background", "", "blur, blur:N, #rrggbb, a picture, a video, or none")
    overlay = _wish(str, "overlay", "", "all, road, or names joined by commas")
    model = _wish(str, "model", "", "a model of `rtseg models list`, or a card")
    filters = _wish(str, "filters", "", "smooth, refine, both joined by a comma, or none")
    preset = _wish(str, "preset", "", "how good a matte is to be: fast, balanced, studio, or auto")
    providers = _wish(str, "providers", "", "where networks run: auto, or names such as cuda,cpu")
    threads = _wish(int, "threads", 0, "threads of the network, 0 for the usual number", minimum=0, maximum=256)
    adaptive = _wish(bool, "adaptive", False, "keep or move masks where frames hardly differ")
    framing = _wish(str, "framing", "", "follow the subject: body, head, head:1.5, or none")
    mirror = _wish(bool, "mirror", False, "exchange left and right")
    freeze = _wish(bool, "freeze", False, "the last picture stands")
    slate = _wish(bool, "slate", False, "show nobody, only a plain card")

    # No __init__: GStreamer's Python elements that have one are not floating when they are made.
    look: Any = None
    wishes: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed
    layout: Any = None
    _colour: Any = None
    _latency = 0
    _told: str | None = None
    _probe = 0

    def want(self, name: str, value: object) -> None:
        """A property was set, by any thread; while it plays, what cannot be is a warning and changes nothing."""
        before, self.wishes = self.wishes, {**self.wishes, name: "" if value is None else value}
        if self.look is None:
            return
        from rtseg.errors import RtsegError
        from rtseg.gstreamer.look import Wishes

        try:
            self.look.change(Wishes(**self.wishes))
        except RtsegError as error:
            self.wishes = before
            self._warn(f"{name} stays as it was: {error}")

    def do_start(self) -> bool:
        """Open the model and what the properties name."""
        try:
            from rtseg.errors import RtsegError
            from rtseg.gstreamer.look import Look, Wishes
        except ImportError as error:
            version = ".".join(map(str, sys.version_info[:2]))
            return self._fail(
                f"GStreamer's Python {version} cannot import rtseg: {error}; install rtseg for Python {version} and "
                'run eval "$(rtseg gstreamer)" in this shell'
            )
        try:
            self.look = Look(Wishes(**self.wishes), live=self._is_live())
        except RtsegError as error:
            return self._fail(str(error))
        except Exception as error:
            return self._fail(f"{type(error).__name__}: {error}")
        self._probe = self.srcpad.add_probe(Gst.PadProbeType.QUERY_UPSTREAM | Gst.PadProbeType.PULL, self._answer)
        return True

    def do_stop(self) -> bool:
        """Give the model back."""
        look, self.look, self.layout, self._told = self.look, None, None, None
        if look is not None:
            look.close()
            del look
            gc.collect()  # frames that stand in circles hold buffers of a pool that wants to end
        self.srcpad.remove_probe(self._probe)
        return True

    def do_set_caps(self, caps: Gst.Caps, _out: Gst.Caps) -> bool:
        """Size, layout and colour of what comes and goes."""
        from rtseg.types import Colour

        info = GstVideo.VideoInfo.new_from_caps(caps)
        self.layout = self._layout(info)
        usual = info.colorimetry  # where the caps do not say all of it, GStreamer has defaults by size
        said, text = GstVideo.VideoColorimetry(), caps.get_structure(0).get_string("colorimetry")
        full = said.range if text and said.from_string(text) and said.range != _UNKNOWN_RANGE else usual.range
        matrix = _MATRICES.get(said.matrix) or _MATRICES.get(usual.matrix, "bt709")
        self._colour = Colour(matrix, full == _FULL_RANGE)
        rate = info.fps_d / info.fps_n if info.fps_n else 1 / 30
        self._latency = round(rate * Gst.SECOND)
        return True

    def do_transform_size(
        self, _direction: Gst.PadDirection, _caps: Gst.Caps, _size: int, other: Gst.Caps
    ) -> tuple[bool, int]:
        """What goes out has no padding but GStreamer's own, whatever comes in."""
        return True, GstVideo.VideoInfo.new_from_caps(other).size

    def do_transform(self, taken: Gst.Buffer, given: Gst.Buffer) -> Gst.FlowReturn:
        """One frame; an error ends the stream before its buffer has left."""
        try:
            return self._transform(taken, given)
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}")
            return Gst.FlowReturn.ERROR

    def _transform(self, taken: Gst.Buffer, given: Gst.Buffer) -> Gst.FlowReturn:
        import numpy as np

        from rtseg.gstreamer.memory import Mapped, read_planes, write_planes

        info = taken.map(Gst.MapFlags.READ)
        bytes_in = np.asarray(Mapped(info.data, lambda: taken.unmap(info)))
        planes = read_planes(bytes_in, self._layout_of(taken))
        del bytes_in
        none = Gst.CLOCK_TIME_NONE
        picture = self.look(
            planes,
            self._colour,
            pts=0 if taken.pts == none else taken.pts,
            duration=0 if taken.duration == none else taken.duration,
        )
        if self.look.failure != self._told:
            self._told = self.look.failure
            if self._told is not None:
                self._warn(f"no mask, so nothing is shown: {self._told}")
        if picture is None:
            return GstBase.BASE_TRANSFORM_FLOW_DROPPED
        with given.map(Gst.MapFlags.WRITE) as target:
            write_planes(picture.planes, np.frombuffer(target.data, np.uint8), self._layout_of(given))
        return Gst.FlowReturn.OK

    def _layout_of(self, buffer: Gst.Buffer) -> Any:
        meta = GstVideo.buffer_get_video_meta(buffer)
        return self.layout if meta is None else self._layout(meta)

    def _layout(self, info: Any) -> Any:
        """Of a VideoInfo or a VideoMeta."""
        from rtseg.gstreamer.memory import Format, Layout
        from rtseg.types import Size

        kind = info.format if isinstance(info, GstVideo.VideoMeta) else info.finfo.format
        name: Format = "NV12" if kind == GstVideo.VideoFormat.NV12 else "I420"
        return Layout(name, Size(info.width, info.height), tuple(info.offset), tuple(info.stride))

    def _answer(self, _pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        """An element that keeps up takes a frame's time at most, and says so to whoever asks for the latency."""
        query = info.get_query()
        if query.type == Gst.QueryType.LATENCY:
            live, least, most = query.parse_latency()
            query.set_latency(
                live, least + self._latency, most if most == Gst.CLOCK_TIME_NONE else most + self._latency
            )
        return Gst.PadProbeReturn.OK

    def _is_live(self) -> bool:
        query = Gst.Query.new_latency()
        return bool(self.sinkpad.peer_query(query) and query.parse_latency()[0])

    def _fail(self, text: str) -> bool:
        error = GLib.Error.new_literal(Gst.StreamError.quark(), text, Gst.StreamError.FAILED)
        self.post_message(Gst.Message.new_error(self, error, "rtseg"))
        return False

    def _warn(self, text: str) -> None:
        warning = GLib.Error.new_literal(Gst.StreamError.quark(), text, Gst.StreamError.FAILED)
        self.post_message(Gst.Message.new_warning(self, warning, "rtseg"))


__gstelementfactory__ = ("rtseg", Gst.Rank.NONE, Rtseg)
