"""An RTSP server that takes what is published to it: `/usr/bin/python3 rtsp_recorder.py PORT FILE.h264`.

It runs with the system's Python, whose packages have GStreamer.
"""

from __future__ import annotations

import sys
from typing import Any

import gi  # type: ignore[import-not-found, unused-ignore]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import (  # type: ignore[import-not-found, unused-ignore] # noqa: E402
    GLib,
    Gst,
    GstRtspServer,
)

LAUNCH = (
    "( rtph264depay name=depay0 ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream "
    "! filesink location={file} sync=false async=false buffer-mode=unbuffered )"
)


def main(port: str, file: str) -> None:
    """Serve rtsp://127.0.0.1:PORT/live until killed."""
    Gst.init(None)
    server: Any = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory: Any = GstRtspServer.RTSPMediaFactory()
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    factory.set_launch(LAUNCH.format(file=file))
    factory.set_latency(0)
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
