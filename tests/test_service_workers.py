"""Workers that end, hang or do not start: nobody waits for ever, nobody else notices, and health tells."""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from echo import card
from serving import Child, Running, child, encoded, in_threads, left_half, picture, running

from rtseg.errors import EngineError, ModelRejected
from rtseg.ops.arrays import F32
from rtseg.service import workers as module
from rtseg.service.app import Service
from rtseg.service.intake import Upload
from rtseg.service.jobs import (
    Answer,
    Composite,
    Infer,
    Job,
    Segment,
    pack_answer,
    pack_job,
    pack_settings,
    read_job,
    read_settings,
    unpack_answer,
    wait_for_answer,
)
from rtseg.service.schemas import CompositeQuery, SegmentQuery
from rtseg.service.server import Server, listen, serve
from rtseg.service.settings import Settings
from rtseg.service.work import Desk
from rtseg.service.worker import work
from rtseg.service.workers import Started, Workers, start_process

BLACK = encoded(picture() * 0)


def deadly(tensor: F32) -> dict[str, Any]:
    """A network that ends its worker on a black picture."""
    if not tensor.any():
        raise SystemExit
    return left_half(tensor)


def until(condition: Any) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came so far")


def health(server: Running) -> dict[str, Any]:
    return dict(server.client.get("/health").raise_for_status().json())


def test_who_kills_a_worker_is_told_so_once_and_others_go_on() -> None:
    with running(start=in_threads(deadly)) as server:
        response = server.client.post("/", content=BLACK)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert "the worker ended on this picture" in response.json()["error"]
        assert server.client.post("/", content=encoded(picture())).status_code == 200
        assert health(server) == {"status": "ok", "workers": 1, "restarts": 1}
        assert "rtseg_worker_restarts 1.0" in server.client.get("/metrics").text


def test_what_waits_behind_a_death_is_done_by_the_next_worker() -> None:
    results = []
    with running(start=in_threads(deadly), workers=1, queue=9) as server:
        data = [BLACK, *(encoded(picture(seed=n)) for n in range(4))]

        def ask(content: bytes) -> None:
            results.append(httpx.post(server.url, content=content, timeout=20, verify=False).status_code)

        threads = [threading.Thread(target=ask, args=(each,)) for each in data]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == [200, 200, 200, 200, 503]


def test_health_says_that_a_worker_is_missing_and_readiness_that_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DELAYS", (0.0, 0.01))
    started, failing = in_threads(deadly), threading.Event()

    def start(settings: Settings) -> Started:
        if not failing.is_set():
            return started(settings)
        ours, theirs = socket.socketpair()
        theirs.close()
        return Started(ours, lambda gently: ours.close())

    with running(start=start, workers=2) as server:
        assert health(server) == {"status": "ok", "workers": 2, "restarts": 0}
        failing.set()
        assert server.client.post("/", content=BLACK).status_code == 503
        until(lambda: health(server) == {"status": "degraded", "workers": 1, "restarts": 1})
        assert server.client.post("/", content=encoded(picture())).status_code == 200
        assert server.client.post("/", content=BLACK).status_code == 503
        until(lambda: health(server) == {"status": "degraded", "workers": 0, "restarts": 2})
        assert server.client.get("/ready").status_code == 503
        failing.clear()
        until(lambda: health(server)["status"] == "ok")
        assert server.client.get("/ready").status_code == 200
        assert server.client.post("/", content=encoded(picture())).status_code == 200


def test_a_worker_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.2)
    release = threading.Event()

    def hanging(tensor: F32) -> dict[str, Any]:
        if not tensor.any():
            release.wait(20)
        return left_half(tensor)

    with running(start=in_threads(hanging), timeout=0.5) as server:
        response = server.client.post("/", content=BLACK)
        assert (response.status_code, "not done within 0.5 seconds" in response.text) == (503, True)
        until(lambda: health(server)["restarts"] == 1)
        until(lambda: server.client.post("/", content=encoded(picture())).status_code == 200)
        release.set()


def test_a_model_that_cannot_be_loaded_is_the_same_error_as_without_workers() -> None:
    def failing(_: Settings) -> Desk:
        raise ModelRejected("no good")

    def start(settings: Settings) -> Started:
        ours, theirs = socket.socketpair()
        threading.Thread(target=work, args=(theirs, settings, failing)).start()
        return Started(ours, lambda gently: ours.close())

    with pytest.raises(ModelRejected, match="no good"):
        Workers(Settings(workers=2), start)


def test_a_worker_that_ends_while_it_loads_is_an_error() -> None:
    def start(_: Settings) -> Started:
        ours, theirs = socket.socketpair()
        theirs.close()
        return Started(ours, lambda gently: ours.close())

    with pytest.raises(EngineError, match="ended while it loaded"):
        Workers(Settings(workers=1), start)


PICTURES = Upload({"image": b"\0\xff", "background": b""})


@pytest.mark.parametrize(
    "job",
    [
        Infer(PICTURES, "rtseg/portrait"),
        Infer(Upload(json=b"{}", fetched=b"abc")),
        Segment(Upload(json=b""), SegmentQuery(model="x", threshold=0.1, subtask="instance", masks=False)),
        Composite(PICTURES, CompositeQuery(background="#\u2028", format="webp")),
    ],
)
def test_jobs_arrive_as_they_were_sent(job: Job) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(pack_job(job))
        assert dataclasses.asdict(read_job(theirs)) == dataclasses.asdict(job)  # type: ignore[arg-type]
        ours.close()
        assert read_job(theirs) is None


def test_settings_arrive_without_the_token() -> None:
    settings = Settings(models=("a", "b"), token="a-token-of-24-characters", providers=("cpu",), timeout=7.5)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(pack_settings(settings))
        assert read_settings(theirs) == dataclasses.replace(settings, token=None)


def test_answers_arrive_as_they_were_sent() -> None:
    with pytest.raises(TypeError):
        unpack_answer(b'{"more": 1}', b"")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(pack_answer(Answer(status=413, headers={"a": "b"}, stages={"decode": 0.5}, body=b"\0\xff")))
        answer = wait_for_answer(ours)
        assert (answer.status, answer.headers, answer.stages, answer.body) == (
            413,
            {"a": "b"},
            {"decode": 0.5},
            b"\0\xff",
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with child("--workers", 2, folder=tmp_path_factory.mktemp("serve")) as started:
        yield started


def alive(number: int) -> bool:
    path = Path(f"/proc/{number}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_a_process_that_is_killed_at_work_or_idle_is_started_anew(served: Child) -> None:
    data = encoded(picture((320, 180)))
    with httpx.Client(base_url=served.url, timeout=30, verify=False) as client:
        first = set(served.workers)
        assert len(first) == 2
        os.kill(min(first), signal.SIGKILL)  # idle
        until(lambda: client.get("/health").json() == {"status": "ok", "workers": 2, "restarts": 1})
        second = set(served.workers)
        assert len(second - first) == 1
        for number in second:
            os.kill(number, signal.SIGSTOP)
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(client.post("/", content=data).status_code))
        thread.start()
        until(lambda: "rtseg_requests_inside 1.0" in client.get("/metrics").text)
        time.sleep(0.2)
        for number in second:
            os.kill(number, signal.SIGKILL)
        thread.join()
        assert answers == [503]
        until(lambda: client.get("/health").json() == {"status": "ok", "workers": 2, "restarts": 3})
        assert client.post("/", content=data).status_code == 200


@pytest.mark.slow
def test_workers_end_with_the_service_however_that_ends(tmp_path: Path) -> None:
    with child("--workers", 2, folder=tmp_path) as killed:
        numbers = killed.workers
        assert all(alive(number) for number in numbers)
        killed.process.kill()
        killed.process.wait()
        until(lambda: not any(alive(number) for number in numbers))


@pytest.mark.slow
def test_a_worker_knows_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    token = "a-token-of-24-characters"
    monkeypatch.setenv("RTSEG_TOKEN", token)
    started = start_process(Settings(token=token, host="0.0.0.0"))
    try:
        assert wait_for_answer(started.sock).status == 200
        for name in ("environ", "cmdline"):
            assert token.encode() not in Path(f"/proc/{started.pid}/{name}").read_bytes()
        assert os.getpriority(os.PRIO_PROCESS, started.pid or 0) > os.getpriority(os.PRIO_PROCESS, 0)
    finally:
        started.end(True)
    assert not alive(started.pid or 0)


def test_what_is_there_at_the_start_is_never_collected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[int] = []
    monkeypatch.setattr(Server, "run", lambda self, sockets: frozen.append(gc.get_freeze_count()))
    settings = Settings(models=("echo",), port=0, workers=1)
    try:
        serve(Service(settings, Workers(settings, in_threads(left_half)), cards=[card()]), listen(settings))
        assert frozen[0] > 10_000
    finally:
        gc.unfreeze()
