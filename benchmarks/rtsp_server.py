"""An RTSP server on the loopback, by GStreamer, in a process of the system's Python: killed and started at will.

with RtspServer() as server:
    server.url  # rtsp://127.0.0.1:PORT/test, 320x180 at 25 frames a second
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

PYTHON = Path("/usr/bin/python3")
PICTURES = "videotestsrc is-live=true pattern={pattern} ! video/x-raw,width={width},height={height},framerate=25/1"
H264 = (
    "x264enc tune=zerolatency sliced-threads=false speed-preset=ultrafast key-int-max=25 "
    "! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"
)
SERVER = """
import sys, gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
port, launch, user, password = sys.argv[1:5]
Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch("( " + launch + " )")
factory.set_shared(True)
if user:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory("/test", factory)
if not server.attach(None):
    sys.exit("port " + port + " is taken")
print("ready", flush=True)
GLib.timeout_add_seconds(600, sys.exit)  # never longer than any test
GLib.MainLoop().run()
"""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody has."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing() -> str | None:
    """Why there can be no server here, None where there can."""
    if not PYTHON.exists():
        return f"there is no {PYTHON}"
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    ran = subprocess.run([PYTHON, "-c", check], capture_output=True, text=True, timeout=30, check=False)
    return None if ran.returncode == 0 else "gir1.2-gst-rtsp-server-1.0 is not installed"


class RtspServer:
    """Runs while the block does. pictures: size and pattern of videotestsrc. login: user and password."""

    def __init__(
        self,
        *,
        size: tuple[int, int] = (320, 180),
        pattern: str = "smpte",
        login: tuple[str, str] | None = None,
        encode: str = H264,
    ) -> None:
        self.port = free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/test"
        pictures = PICTURES.format(width=size[0], height=size[1], pattern=pattern)
        self._arguments = [str(self.port), f"{pictures} ! {encode}", *(login or ("", ""))]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when it listens."""
        self._process = process = subprocess.Popen(
            [str(PYTHON), "-c", SERVER, *self._arguments], stdout=subprocess.PIPE, stderr=sys.stderr, text=True
        )
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], 20)
        if not ready or process.stdout.readline() != "ready\n":
            self.kill()
            raise RuntimeError("the RTSP server did not start")

    def kill(self) -> None:
        """Dead at once, as when the plug is pulled: nobody is told."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(10)
            assert process.stdout is not None
            process.stdout.close()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Says nothing, with connections open, as long as the block runs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.kill()
