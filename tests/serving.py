"""A service on a port of its own, in this process or as a child; and pictures to send."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from echo import EchoEngine, card

from rtseg.ops.arrays import F32, U8
from rtseg.segmenting import ImageSegmenter
from rtseg.service.app import Service
from rtseg.service.fetch import Fetcher
from rtseg.service.fleet import Streams
from rtseg.service.server import listen, make_server
from rtseg.service.settings import Settings
from rtseg.service.work import Desk
from rtseg.service.worker import work
from rtseg.service.workers import Start, Started, Workers

SIZE = (64, 36)


def left_half(tensor: F32) -> dict[str, Any]:
    """A "network" that sees a person in the left half of every picture."""
    y = np.zeros((1, 1, *tensor.shape[2:]), np.float32)
    y[..., : tensor.shape[3] // 2] = 1.0
    return {"y": y}


def desk(answer: Callable[[F32], Any] = left_half, **more: Any) -> Desk:
    """A model that is called "echo" and says what `answer` says; more: of its card."""
    own = card(size=SIZE, **more)
    model = ImageSegmenter(own, engine=EchoEngine(SIZE, answer))
    return Desk({own.name: model}, max_pixels=10_000, max_bytes=100_000)


def in_threads(answer: Callable[[F32], Any], **more: Any) -> Start:
    """Workers as threads of this process, at the other end of the same sockets, so that tests see inside."""

    def start(settings: Settings) -> Started:
        def load(settings: Settings) -> Desk:
            models = {"echo": ImageSegmenter(card(size=SIZE, **more), engine=EchoEngine(SIZE, answer))}
            return Desk(models, max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)

        ours, theirs = socket.socketpair()

        def run() -> None:
            with contextlib.suppress(SystemExit):  # how tests end a worker
                work(theirs, settings, load)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def end(gently: bool) -> None:
            ours.close()
            if gently:
                thread.join(10)

        return Started(ours, end)

    return start


@dataclass
class Running:
    """A client, and what it talks to."""

    client: httpx.Client
    url: str
    service: Service


@contextmanager
def running(
    *,
    answer: Callable[[F32], Any] = left_half,
    headers: dict[str, str] | None = None,
    fetcher: Fetcher | None = None,
    start: Start | None = None,
    streams: Streams | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """A real server in a thread, ended when done."""
    chosen = Settings(**{"models": ("echo",), "port": 0, "workers": 1, **settings})
    workers = Workers(chosen, start or in_threads(answer))
    service = Service(chosen, workers, cards=[card(size=SIZE)], fetcher=fetcher, streams=streams)
    sock = listen(chosen)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    server = make_server(service)
    ready = threading.Event()
    server.started_callback = ready.set
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        assert ready.wait(10)
        with httpx.Client(base_url=url, headers=headers, timeout=20, verify=False) as client:
            yield Running(client, url, service)
    finally:
        server.should_exit = True
        thread.join()
        service.close()
        sock.close()


@contextmanager
def child(*arguments: object, folder: Path, environment: dict[str, str] | None = None) -> Iterator[Child]:
    """`rtseg serve` with a free port, as a process of its own; its log goes to a file in `folder`."""
    log = folder / "serve.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "rtseg", "serve", "--port", "0", *map(str, arguments)]
        process = subprocess.Popen(command, stderr=out, stdout=out, cwd=folder, env=environment)
    started = Child(process, log)
    try:
        started.wait()
        yield started
    finally:
        process.kill()
        process.wait()


@dataclass
class Child:
    """A service in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def wait(self) -> None:
        """Until it listens."""
        for _ in range(600):
            if found := re.search(r"listening on (http://\S+)", self.log.read_text()):
                self.url = found[1]
                return
            assert self.process.poll() is None, self.log.read_text()
            threading.Event().wait(0.05)
        raise AssertionError(self.log.read_text())

    @property
    def workers(self) -> list[int]:
        """The numbers of its worker processes."""
        own = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(number) for number in Path(own).read_text().split()]

    def memory(self) -> float:
        """Resident MB, of workers too."""
        return self._status("VmRSS")

    def peak(self) -> float:
        """Resident MB at most since `forget_peak`; each process at its own peak, so rather too much."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Let the peak be what is resident now."""
        for number in (self.process.pid, *self.workers):
            Path(f"/proc/{number}/clear_refs").write_text("5")

    def _status(self, name: str) -> float:
        total = 0
        for number in (self.process.pid, *self.workers):
            found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{number}/status").read_text())
            assert found is not None
            total += int(found[1])
        return total / 1024


def picture(size: tuple[int, int] = SIZE, *, seed: int = 0) -> U8:
    """Smooth BGR noise."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def encoded(pixels: U8, kind: str = "png") -> bytes:
    done, data = cv2.imencode(f".{kind}", pixels)
    assert done
    return data.tobytes()


def decoded(data: bytes) -> U8:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return np.asarray(pixels, np.uint8)
