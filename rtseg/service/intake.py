"""A request's body: counted while it comes, whole within its time, and taken apart."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from rtseg.service.refusals import Refusal

_OVERHEAD = 65536
_DRAIN_SECONDS, _DRAIN_BYTES = 0.05, 64 << 20


@dataclass(frozen=True, eq=False, slots=True)
class Upload:
    """What came: pictures by their field ("image" for a body that is one), or the bytes of a JSON object.

    fetched: the picture behind the address that the JSON names.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    json: bytes | None = None
    fetched: bytes | None = None


def body_limit(content_type: str, max_bytes: int) -> int:
    """Bytes that a body may have so that each picture in it has `max_bytes`: base64 takes 4 for 3; forms have two."""
    match content_type.partition(";")[0].strip().lower():
        case "application/json":
            return max_bytes * 4 // 3 + _OVERHEAD
        case "multipart/form-data":
            return 2 * max_bytes + _OVERHEAD
        case _:
            return max_bytes


class CountedBody:
    """An ASGI `receive` that raises Refusal: 413 past `limit` bytes, 408 past `seconds`.

    Counted here, since multipart parsers and decompressors count something else or nothing.
    """

    def __init__(self, receive: Receive, *, limit: int, seconds: float) -> None:
        self._receive = receive
        self._limit = limit
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._taken = 0
        self.done = False

    async def __call__(self) -> Message:
        """The next message; after the body's end there is no deadline."""
        if self.done:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                message = await self._receive()
        except TimeoutError as error:
            late = f"the body took more than {self._seconds:g} seconds: send it faster"
            raise Refusal(408, late, {"Connection": "close"}) from error
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            self.done = not message.get("more_body", False)
            if self._taken > self._limit:
                await drain(self._receive)
                raise too_long(self._limit)
        return message


async def drain(receive: Receive) -> None:
    """Read a little of a body that nobody wants: a client that is still sending may otherwise never see the answer."""
    taken = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while taken < _DRAIN_BYTES:
                message = await receive()
                taken += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def too_long(limit: int) -> Refusal:
    """413 for a body over its limit."""
    return Refusal(413, f"the body is too long: allowed are {limit} bytes", {"Connection": "close"})


async def read_upload(request: Request, *, max_bytes: int) -> Upload:
    """The whole body; Refusal for what is no picture, JSON or form. JSON is taken apart by a worker (`parse_json`)."""
    try:
        match request.headers.get("content-type", "").partition(";")[0].strip().lower():
            case "application/json":
                return Upload(json=await request.body())
            case "multipart/form-data":
                return Upload(await _form(request, max_bytes))
            case _:
                return Upload({"image": await request.body()})
    except ClientDisconnect as error:
        raise Refusal(400, "the client left before its request had come") from error


async def _form(request: Request, max_bytes: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        async with request.form(max_files=2, max_fields=4, max_part_size=4096) as form:
            for name, value in form.multi_items():
                files[name] = await _file(name, value, max_bytes)
    except (MultiPartException, AssertionError, KeyError, UnicodeError, ValueError) as error:
        raise Refusal(400, "the body is no multipart form") from error
    except Exception as error:
        # Starlette answers a broken form with its own HTTPException.
        if getattr(error, "status_code", None) == 400:
            raise Refusal(400, "the body is no multipart form") from error
        raise
    return files


async def _file(name: str, value: UploadFile | str, max_bytes: int) -> bytes:
    """A form's file; its name, which may be a path or worse, is not looked at."""
    if not isinstance(value, UploadFile):
        raise Refusal(422, f"the form field {name!r} is no file: options belong into the query")
    if (value.size or 0) > max_bytes:
        raise Refusal(413, f"the file {name!r} has {value.size} bytes: allowed are {max_bytes}")
    return await value.read()


def parse_json(data: bytes) -> dict[str, Any]:
    """The JSON object of a body; Refusal 400 for anything else."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body is no JSON") from error
    if not isinstance(value, dict):
        raise Refusal(422, "the body must be a JSON object")
    return value


def decode_base64(text: str, *, max_bytes: int) -> bytes:
    """The bytes of base64 or of a data: address; Refusal 422 or 413."""
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise Refusal(422, "a data: address must hold base64: data:image/png;base64,...")
    if len(text) > max_bytes * 4 // 3 + 4:
        raise Refusal(413, f"the picture is too long: allowed are {max_bytes} bytes")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(422, "the picture is no base64") from error
