"""A hundred clients on `rtseg serve`: who is answered, how soon, and what is left of it in memory.

    python -m benchmarks.service --clients 100 --seconds 20 --busy 6

A client has an address of its own (127.0.1.1 and on), asks, waits for its answer, and asks again; after a 503 it waits
as long as `Retry-After` says, give or take a half. Fails (exit 1) unless all answers are 200 or 503, the accepted ones'
p99 is at most three times that of a single client times the places (workers and queue), 503 takes less than 50 ms, no
client gets more than twice what another gets, `/health` takes less than 100 ms throughout, and memory comes back to
within 30 MB of what it was. busy: so many processes that do nothing but compute, to see what a machine that does other
things makes of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measure import machine
from rtseg.build import build_source
from rtseg.config import SampleSource

HEALTH_MS = 100.0
SHED_MS = 50.0
FAIR = 2.0
GROWTH_MB = 30.0
SIZE = (640, 360)


@dataclasses.dataclass(frozen=True)
class Load:
    """What a service did: times in ms, memory in MB; `places` are workers and queue."""

    places: int
    clients: int
    seconds: float
    statuses: dict[int, int]
    single_p99: float
    accepted_p50: float
    accepted_p99: float
    refused_p99: float
    health_p99: float
    health_worst: float
    floor_p99: float
    floor_worst: float
    """Of a server that does nothing else, asked in turns with `/health`: what the machine makes of anybody."""
    before_mb: float
    peak_mb: float
    after_mb: float
    fairness: float
    """Answers of the luckiest client over those of the unluckiest."""
    least: int
    most: int

    @property
    def promises(self) -> dict[str, bool]:
        """What must hold, and whether it does."""
        return {
            "nothing but 200 and 503": set(self.statuses) <= {200, 503} and bool(self.statuses.get(200)),
            f"accepted p99 <= 3 x {self.single_p99:.0f} ms x {self.places}": self.accepted_p99
            <= 3 * self.single_p99 * self.places,
            "refused within 50 ms": self.refused_p99 < SHED_MS,
            "fairness at most 2": self.fairness <= FAIR,
            "health under 100 ms": self.health_worst < HEALTH_MS,
            "memory comes back": self.after_mb - self.before_mb < GROWTH_MB,
        }


@dataclasses.dataclass(frozen=True)
class Asked:
    """What came of a request: status (0 for a connection that broke), seconds, and after how many to ask again."""

    status: int
    took: float
    again: float = 1.0


async def ask(port: int, request: bytes, client: int = 10_000) -> Asked:
    """One request on a connection of its own, from the address of that client."""
    started = time.perf_counter()
    status, again = 0, 1.0
    try:
        own = (f"127.0.{1 + client // 250}.{1 + client % 250}", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=own)
        try:
            writer.write(request)
            await writer.drain()
            answer = await reader.read()
        finally:
            writer.close()
        status = int(answer.split(b" ", 2)[1])
        if found := re.search(rb"(?i)\r\nretry-after: (\d+)", answer[:2000]):
            again = float(found[1])
    except (OSError, IndexError, ValueError):
        status = 0
    return Asked(status, time.perf_counter() - started, again)


def request_of(picture: bytes, path: str = "/v1/segment") -> bytes:
    """A whole POST; the connection is closed after it."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(picture)}\r\nConnection: close\r\n\r\n"
    return head.encode() + picture


# Processes of their own: what a hundred clients do to each other is none of the service's doing.
PROBER = """
import http.client, json, sys, time
ports, seconds = [int(port) for port in sys.argv[1:3]], float(sys.argv[3])
took, end = [[], []], time.perf_counter() + seconds
while time.perf_counter() < end:
    for own, port in zip(took, ports):
        started = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/health")
        right = connection.getresponse().status == 200
        connection.close()
        own.append(time.perf_counter() - started if right else 1e9)
    time.sleep(0.05)
print(json.dumps(took))
"""
FLOOR = """
import asyncio
async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
"""A server that does nothing else: how late the machine lets anybody answer."""


async def measure(port: int, pid: int, picture: bytes, *, clients: int, seconds: float, places: int) -> Load:
    """A single client first, then all of them, while a process of its own asks for `/health`, twenty times a second."""
    request = request_of(picture)
    for _ in range(10):
        await ask(port, request)
    single = [(await ask(port, request)).took for _ in range(100)]
    # Heaps are made when first all of them work: that is no growth.
    await asyncio.gather(*(ask(port, request) for _ in range(4 * places)))
    await asyncio.sleep(1.0)
    before = memory(pid)
    end = time.perf_counter() + seconds
    asked: list[list[Asked]] = [[] for _ in range(clients)]
    peak = before

    chance = random.Random(0)

    async def client(number: int) -> None:
        while time.perf_counter() < end:
            asked[number].append(await ask(port, request, number))
            if asked[number][-1].status != 200:
                await asyncio.sleep(asked[number][-1].again * chance.uniform(0.5, 1.5))

    async def watch() -> None:
        nonlocal peak
        while time.perf_counter() < end:
            peak = max(peak, memory(pid))
            await asyncio.sleep(0.5)

    pipe = asyncio.subprocess.PIPE
    floor = await asyncio.create_subprocess_exec(sys.executable, "-c", FLOOR, stdout=pipe)
    try:
        assert floor.stdout is not None
        ports = (str(port), (await floor.stdout.readline()).decode().strip())
        prober = await asyncio.create_subprocess_exec(sys.executable, "-c", PROBER, *ports, str(seconds), stdout=pipe)
        end = time.perf_counter() + seconds
        await asyncio.gather(watch(), *(client(number) for number in range(clients)))
        said, _ = await prober.communicate()
    finally:
        floor.kill()
        await floor.wait()
    health, bare = json.loads(said)
    await asyncio.sleep(2.0)
    answers = [answer for own in asked for answer in own]
    accepted = [answer.took for answer in answers if answer.status == 200]
    refused = [answer.took for answer in answers if answer.status == 503]
    lucky = [sum(answer.status == 200 for answer in own) for own in asked]
    return Load(
        places=places,
        clients=clients,
        seconds=seconds,
        statuses=dict(Counter(answer.status for answer in answers)),
        single_p99=_ms(single, 99),
        accepted_p50=_ms(accepted, 50),
        accepted_p99=_ms(accepted, 99),
        refused_p99=_ms(refused, 99),
        health_p99=_ms(health, 99),
        health_worst=1e3 * max(health),
        floor_p99=_ms(bare, 99),
        floor_worst=1e3 * max(bare),
        before_mb=before,
        peak_mb=peak,
        after_mb=memory(pid),
        fairness=max(lucky) / max(1, min(lucky)),
        least=min(lucky),
        most=max(lucky),
    )


def memory(pid: int) -> float:
    """MB of a process and its children; what they share counts once."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = 0
    for number in (pid, *children):
        with contextlib.suppress(OSError):
            found = re.search(r"\nPss:\s+(\d+) kB", Path(f"/proc/{number}/smaps_rollup").read_text())
            total += int(found[1]) if found else 0
    return total / 1024


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that compute, meanwhile."""
    children = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.wait()


@contextlib.contextmanager
def service(*arguments: object) -> Iterator[tuple[int, int]]:
    """`rtseg serve` as a process of its own: its port and number."""
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "rtseg", "serve", "--port", "0", *map(str, arguments)]
        child = subprocess.Popen(command, stderr=log)
        try:
            yield _port(child, log.fileno()), child.pid
        finally:
            child.terminate()
            child.wait()


def _port(child: subprocess.Popen[bytes], log: int) -> int:
    text = ""
    for _ in range(600):
        text = Path(f"/proc/self/fd/{log}").read_text()
        if found := re.search(r"listening on http://.*:(\d+)", text):
            return int(found[1])
        if child.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"rtseg serve did not start: {text}")


def photograph() -> bytes:
    """A frame of the built-in sample as JPEG."""
    with contextlib.closing(build_source(SampleSource(seconds=0.2, size=SIZE, rate=10))) as source:
        _, data = cv2.imencode(".jpg", next(iter(source)).bgr)
    return data.tobytes()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--queue", type=int, default=16)
    parser.add_argument("--model", default="portrait")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    before = os.getloadavg()[0]
    serving = service("--model", options.model, "--workers", options.workers, "--queue", options.queue)
    with serving as (port, pid), busy(options.busy):
        load = asyncio.run(
            measure(
                port,
                pid,
                photograph(),
                clients=options.clients,
                seconds=options.seconds,
                places=options.workers + options.queue,
            )
        )
    after = os.getloadavg()[0]
    Console(width=120).print(_table(load))
    where = f"{machine()['cpu']}, {machine()['cores']} cores, {options.busy} busy processes"
    print(f"{where}, load {before:.1f} before and {after:.1f} after, commit {machine()['commit']}")
    if options.json:
        said = {
            "machine": machine(),
            "busy": options.busy,
            "load": [before, after],
            **dataclasses.asdict(load),
            "promises": load.promises,
        }
        options.json.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    return 0 if all(load.promises.values()) else 1


def _table(load: Load) -> Table:
    table = Table("", "", box=box.SIMPLE_HEAD, title=f"{load.clients} clients, {load.places} places")
    for name, value in dataclasses.asdict(load).items():
        table.add_row(name, f"{value:.1f}" if isinstance(value, float) else str(value))
    for name, kept in load.promises.items():
        table.add_row(name, "yes" if kept else "NO")
    return table


def _ms(seconds: Sequence[float], percent: float) -> float:
    return 1e3 * float(np.percentile(seconds, percent)) if seconds else 0.0


if __name__ == "__main__":
    sys.exit(main())
