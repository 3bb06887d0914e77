"""WebRTC in and out of the service, with aiortc at the other end; and everything given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

pytest.importorskip("aiortc", reason="needs the extra webrtc")

from calling import Caller, Camera, until

from rtseg.live.scene import Scene
from rtseg.sections import ModelOptions
from rtseg.service.peers import Peers

GREEN = "#00ff00"


@asynccontextmanager
async def open_peers(**more: Any) -> AsyncIterator[Peers]:
    made = Peers({"portrait": ModelOptions(name="portrait")}, **more)
    try:
        yield made
    finally:
        await made.close()


async def call(peers: Peers, *, size: tuple[int, int] = (160, 120), **wishes: Any) -> tuple[Caller, Any]:
    caller = Caller()
    try:
        caller.send(Camera(size))
        scene = wishes.pop("scene", Scene(background=GREEN))
        session, answer = await peers.studio(await caller.offer(), model=None, scene=scene, **wishes)
        await caller.take(answer)
    except BaseException:
        await caller.close()
        raise
    return caller, session


def test_a_camera_comes_back_with_its_background_replaced() -> None:
    async def main() -> None:
        async with open_peers() as peers:
            caller, session = await call(peers)
            await until(lambda: caller.count >= 10)
            np.testing.assert_allclose(caller.seen[-1].mean((0, 1)), (0, 255, 0), atol=3)  # a grey wall is nobody
            assert session.stream.status().state == "live"
            await caller.close()
            await until(lambda: not peers.sessions, seconds=3)

    asyncio.run(main())
