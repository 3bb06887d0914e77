"""What the event loop and its workers say to each other: a job there, an answer back, over a socket.

Each message is JSON and bytes, so that nothing that comes from a worker, which decodes what strangers send, can run in
the process that holds the token.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias, assert_never

from rtseg.service.intake import Upload
from rtseg.service.schemas import CompositeQuery, SegmentQuery
from rtseg.service.settings import Settings

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


def pack_settings(settings: Settings) -> bytes:
    """What a worker must know, as a message: all but who may ask, and where."""
    return pack(json.dumps(asdict(dataclasses.replace(settings, token=None, host="127.0.0.1"))).encode())


def pack_job(job: Job) -> bytes:
    """A job as a message: its pictures and its JSON are the body, one behind the other."""
    upload = job.upload
    parts = [*upload.files.values(), *(each for each in (upload.json, upload.fetched) if each is not None)]
    head: dict[str, Any] = {
        "files": {name: len(data) for name, data in upload.files.items()},
        "json": None if upload.json is None else len(upload.json),
        "fetched": None if upload.fetched is None else len(upload.fetched),
    }
    match job:
        case Infer():
            head["infer"] = job.model
        case Segment():
            head["segment"] = job.query.model_dump()
        case Composite():
            head["composite"] = job.query.model_dump()
        case _:
            assert_never(job)
    return pack(json.dumps(head).encode(), b"".join(parts))


def unpack_job(head: bytes, body: bytes) -> Job:
    """The job in a message."""
    said, place = json.loads(head), 0

    def part(count: int | None) -> bytes | None:
        nonlocal place
        place += count or 0
        return None if count is None else body[place - count : place]

    files = {name: part(count) or b"" for name, count in said["files"].items()}
    upload = Upload(files, part(said["json"]), part(said["fetched"]))
    if "infer" in said:
        return Infer(upload, said["infer"])
    if "segment" in said:
        return Segment(upload, SegmentQuery.model_validate(said["segment"]))
    return Composite(upload, CompositeQuery.model_validate(said["composite"]))


def pack_answer(answer: Answer) -> bytes:
    """An answer as a message."""
    head = asdict(answer)
    body = head.pop("body")
    return pack(json.dumps(head).encode(), body)


def unpack_answer(head: bytes, body: bytes) -> Answer:
    """The answer in a message; ValueError or TypeError for anything else."""
    return Answer(**json.loads(head), body=body)


def read_settings(sock: socket.socket) -> Settings | None:
    """Settings from a socket that blocks; None when the other side is gone."""
    found = _message(sock)
    if found is None:
        return None
    said: dict[str, Any] = json.loads(found[0])
    for name, value in said.items():
        said[name] = tuple(value) if isinstance(value, list) else value
    return Settings(**said)


def read_job(sock: socket.socket) -> Job | None:
    """The next job of a socket that blocks; None when there comes no more."""
    found = _message(sock)
    return None if found is None else unpack_job(*found)


def wait_for_answer(sock: socket.socket) -> Answer:
    """The next answer of a socket that blocks; EOFError when the other side is gone."""
    found = _message(sock)
    if found is None:
        raise EOFError("the worker is gone")
    return unpack_answer(*found)


def _message(sock: socket.socket) -> tuple[bytes, bytes] | None:
    sizes = _read(sock, _LENGTHS.size)
    if sizes is None:
        return None
    head, body = (_read(sock, size) for size in _LENGTHS.unpack(sizes))
    return None if head is None or body is None else (bytes(head), bytes(body))


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
