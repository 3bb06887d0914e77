"""What the event loop and its workers say to each other: a job there, an answer back, over a socket.

Jobs are pickled. Answers are JSON and bytes: a worker decodes what strangers send, and nothing that comes from it may
run in the process that holds the token.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from rtseg.service.intake import Upload
from rtseg.service.schemas import CompositeQuery, SegmentQuery

_LENGTHS = struct.Struct(">II")


@dataclass(frozen=True, eq=False, slots=True)
class Infer:
    """The Hugging Face contract: parameters come with the upload's JSON."""

    upload: Upload
    model: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Segment:
    """Segments with types."""

    upload: Upload
    query: SegmentQuery


@dataclass(frozen=True, eq=False, slots=True)
class Composite:
    """A picture with an effect; the upload may have a file "background"."""

    upload: Upload
    query: CompositeQuery


Job: TypeAlias = Infer | Segment | Composite


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Answer:
    """What came of a job: a body, or an address that is to be fetched first, or an error (`status` over 299).

    stages: seconds by name. trace: where a failure that nobody expected came from, for the log.
    """

    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)
    address: str | None = None
    trace: str | None = None
    body: bytes = b""


def pack(head: bytes, body: bytes = b"") -> bytes:
    """A message: both lengths, then both."""
    return b"".join((_LENGTHS.pack(len(head), len(body)), head, body))


def pack_job(job: Job) -> bytes:
    """A job as a message."""
    return pack(pickle.dumps(job, pickle.HIGHEST_PROTOCOL))


def pack_answer(answer: Answer) -> bytes:
    """An answer as a message."""
    head = asdict(answer)
    body = head.pop("body")
    return pack(json.dumps(head).encode(), body)


def unpack_answer(head: bytes, body: bytes) -> Answer:
    """The answer in a message; ValueError or TypeError for anything else."""
    return Answer(**json.loads(head), body=body)


def read_job(sock: socket.socket) -> Any:
    """The next object that was pickled into a socket that blocks; None when there comes no more."""
    sizes = _read(sock, _LENGTHS.size)
    if sizes is None:
        return None
    head, body = _LENGTHS.unpack(sizes)
    data = _read(sock, head + body)
    return None if data is None else pickle.loads(data[:head])


def wait_for_answer(sock: socket.socket) -> Answer:
    """The next answer of a socket that blocks; EOFError when the other side is gone."""
    sizes = _read(sock, _LENGTHS.size)
    head, body = _LENGTHS.unpack(sizes) if sizes is not None else (0, 0)
    data = _read(sock, head + body)
    if sizes is None or data is None:
        raise EOFError("the worker is gone")
    return unpack_answer(bytes(data[:head]), bytes(data[head:]))


def _read(sock: socket.socket, count: int) -> bytearray | None:
    data = bytearray(count)
    view, done = memoryview(data), 0
    while done < count:
        got = sock.recv_into(view[done:])
        if not got:
            return None
        done += got
    return data


async def read_answer(sock: socket.socket) -> Answer:
    """The next answer of a socket that does not block; EOFError when the other side is gone."""
    sizes = await _arriving(sock, _LENGTHS.size)
    head, body = _LENGTHS.unpack(sizes)
    return unpack_answer(bytes(await _arriving(sock, head)), bytes(await _arriving(sock, body)))


async def _arriving(sock: socket.socket, count: int) -> bytearray:
    loop = asyncio.get_running_loop()
    data = bytearray(count)
    view, done = memoryview(data), 0
    while done < count:
        got = await loop.sock_recv_into(sock, view[done:])
        if not got:
            raise EOFError("the worker is gone")
        done += got
    return data
