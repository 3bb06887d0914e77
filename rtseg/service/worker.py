"""A worker: a process with engines of its own that takes one job after the other from a socket.

It decodes, runs networks and encodes, so that Python's lock, which that work holds, is not the event loop's; and what
a picture may do to a decoder ends a worker and not the service.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import TypeAlias

import cv2

from rtseg.service.jobs import Answer, Job, pack_answer, read_job, read_settings
from rtseg.service.logs import log_requests
from rtseg.service.memory import give_back
from rtseg.service.refusals import refusal_of
from rtseg.service.settings import Settings
from rtseg.service.work import Desk, load_models

Load: TypeAlias = Callable[[Settings], Desk]

_NICE = 5
"""By how much a worker steps back: whenever both want a core, the event loop has it."""
_IDLE = 0.5
"""Seconds without work after which a worker gives memory back."""


def load_desk(settings: Settings) -> Desk:
    """The models of the settings, in engines."""
    return Desk(load_models(settings), max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)


def work(sock: socket.socket, settings: Settings, load: Load = load_desk) -> None:
    """Say that models are loaded, or what is wrong with them; then answer jobs until the socket ends."""
    cv2.setNumThreads(1)  # a worker is a core: more threads of OpenCV cost CPU and add no pictures
    with sock, contextlib.suppress(ConnectionError):  # the service may be gone
        try:
            desk = load(settings)
        except Exception as error:
            body = json.dumps({"kind": type(error).__name__, "error": str(error)}).encode()
            sock.sendall(pack_answer(Answer(status=500, trace=_trace(error), body=body)))
            return
        sock.sendall(pack_answer(Answer()))
        while (job := _next(sock)) is not None:
            sock.sendall(pack_answer(answer(desk, job)))
            del job  # a picture is not kept until the next one comes


def answer(desk: Desk, job: Job) -> Answer:
    """What comes of a job, whatever goes wrong."""
    try:
        return desk.do(job)
    except Exception as error:
        refusal = refusal_of(error)
        trace = _trace(error) if refusal.status == 500 else None
        body = json.dumps(refusal.body).encode()
        return Answer(status=refusal.status, headers=dict(refusal.headers), trace=trace, body=body)


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def _next(sock: socket.socket) -> Job | None:
    if not select.select([sock], [], [], _IDLE)[0]:
        give_back()
    return read_job(sock)


def main(descriptor: int) -> None:
    """The process: its settings come over the socket with that number. It ends when the socket does, by no signal."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a terminal and systemd send them to all: what was taken is finished
    os.nice(_NICE)
    log_requests(sys.stderr, None)
    sock = socket.socket(fileno=descriptor)
    settings = read_settings(sock)
    if settings is not None:
        work(sock, settings)


if __name__ == "__main__":
    main(int(sys.argv[1]))
