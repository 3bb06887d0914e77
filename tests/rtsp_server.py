"""The RTSP server of the benchmarks, for tests: `with RtspServer() as server: server.url`."""

from __future__ import annotations

from benchmarks.rtsp_server import RtspServer, free_port, missing

__all__ = ["RtspServer", "free_port", "missing"]
