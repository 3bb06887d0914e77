"""A real RTMP server (nginx with its rtmp module) on a free port of loopback, for the tests of live streams."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
CONFIGURATION = """
load_module {module};
daemon off;
master_process off;
worker_processes 1;
error_log {folder}/error.log warn;
pid {folder}/nginx.pid;
events {{ worker_connections 64; }}
rtmp {{
    server {{
        listen 127.0.0.1:{port};
        chunk_size 4096;
        application live {{ live on; record off; wait_key on; wait_video on; }}
    }}
}}
"""


def free_port() -> int:
    """A port of loopback that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """An nginx that can be killed and started again on its port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"rtmp://127.0.0.1:{self.port}/live/secret-key"
        self._file = folder / "nginx.conf"
        self._file.write_text(CONFIGURATION.format(module=MODULE, folder=folder, port=self.port))
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it listens."""
        command = ["nginx", "-p", str(self._folder), "-c", str(self._file), "-e", str(self._folder / "error.log")]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, (self._folder / "error.log").read_text()
            time.sleep(0.02)
        raise AssertionError("nginx does not listen")

    def pause(self) -> None:
        """It keeps its connections and does nothing."""
        assert self._process is not None
        self._process.send_signal(19)

    def kill(self) -> None:
        """Gone at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def rtmp_server(folder: Path) -> Iterator[Server]:
    """A server that runs, ended when done; skips where nginx or its module is not installed."""
    if shutil.which("nginx") is None or not MODULE.is_file():
        pytest.skip("no RTMP server: apt install nginx-light libnginx-mod-rtmp")
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
