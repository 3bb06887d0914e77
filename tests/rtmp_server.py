"""A media server for RTMP on the loopback, nginx with its rtmp module: what is pushed can be pulled."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rtsp_server import free_port

MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
NGINX = """
load_module {module};
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; }} }} }}
"""


def missing() -> str | None:
    """Why there can be no server here, None where there can."""
    found = _nginx() is not None and MODULE.exists()
    return None if found else "nginx-light and libnginx-mod-rtmp are not installed"


def _nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@contextmanager
def rtmp_server(folder: Path) -> Iterator[str]:
    """The address that streams are pushed to and pulled from, rtmp://127.0.0.1:PORT/live/NAME, without its NAME."""
    port, command = free_port(), _nginx()
    assert command is not None
    settings = folder / "nginx.conf"
    settings.write_text(NGINX.format(module=MODULE, folder=folder, port=port))
    server = subprocess.Popen([command, "-c", str(settings), "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while server.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield f"rtmp://127.0.0.1:{port}/live"
    finally:
        server.kill()
        server.wait(10)
