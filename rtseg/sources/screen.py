"""The screen as a source: X11 on Linux, gdigrab on Windows, AVFoundation on macOS."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from rtseg.errors import ConfigError, SourceError, SourceUnreadable
from rtseg.sources.connection import Address, Connection
from rtseg.sources.reconnect import Backoff, LinkChange, Reconnecting
from rtseg.types import Frame, Source, StreamInfo

_MAX_PIXELS = 8192 * 8192


class Screen(Reconnecting):
    """Frames of what the screen shows, `rate` a second.

    display: as in the variable DISPLAY, which is the default (Linux), or the number of a screen (macOS). size, offset:
    of the part that is taken, from the top left corner; the whole by default. cursor: whether the pointer is in it.
    Raises ConfigError where there is no display. Wayland shows other programs nothing: there it has what runs under
    XWayland.
    """

    def __init__(
        self,
        *,
        display: str | None = None,
        size: tuple[int, int] | None = None,
        offset: tuple[int, int] = (0, 0),
        rate: float = 30.0,
        cursor: bool = True,
        open_timeout: float = 10.0,
        read_timeout: float = 5.0,
        backoff: Backoff | None = None,
        attempts: int | None = None,
        changed: Callable[[LinkChange], None] | None = None,
    ) -> None:
        address = screen_address(display, size=size, offset=offset, rate=rate, cursor=cursor)
        super().__init__(
            partial(_connect, address, open_timeout=open_timeout, read_timeout=read_timeout),
            name=address.name,
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            backoff=backoff,
            attempts=attempts,
            changed=changed,
        )


def _connect(address: Address, *, open_timeout: float, read_timeout: float) -> Source:
    kind = _Grabbed if address.format == "x11grab" else Connection
    return kind(address, open_timeout=open_timeout, read_timeout=read_timeout, max_pixels=_MAX_PIXELS)


class _Grabbed:
    """A connection to a process that takes the screen: `rtseg.sources.grab` says why."""

    live = True

    def __init__(self, address: Address, *, open_timeout: float, read_timeout: float, max_pixels: int) -> None:
        options = [f"{key}={value}" for key, value in address.options.items()]
        command = [sys.executable, "-m", "rtseg.sources.grab", address.url, *options]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdout is not None
        pipe = Address(f"pipe:{self._process.stdout.fileno()}", address.name, "nut", {"analyzeduration": "1"})
        try:
            self._connection = Connection(
                pipe, open_timeout=open_timeout, read_timeout=read_timeout, max_pixels=max_pixels
            )
        except SourceError as error:
            self._process.kill()
            _, told = self._process.communicate()
            reason = told.decode(errors="replace").strip().rpartition("\n")[2]
            raise SourceUnreadable(f"{address.name} {address.url} cannot be read: {reason or error}") from None

    @property
    def info(self) -> StreamInfo:
        return self._connection.info

    @property
    def counts(self) -> Mapping[str, int]:
        return self._connection.counts

    def __iter__(self) -> Iterator[Frame]:
        try:
            yield from self._connection
        finally:
            self._process.kill()
            self._process.communicate()

    def close(self) -> None:
        self._connection.close()
        self._process.kill()


def screen_address(
    display: str | None, *, size: tuple[int, int] | None, offset: tuple[int, int], rate: float, cursor: bool
) -> Address:
    """What FFmpeg is told to take the screen."""
    x, y = offset
    options = {"framerate": f"{rate:g}"}
    if size is not None:
        options["video_size"] = f"{size[0]}x{size[1]}"
    match sys.platform:
        case "darwin":
            return Address(
                f"Capture screen {display or 0}:none",
                "screen",
                "avfoundation",
                options | {"capture_cursor": str(int(cursor))},
            )
        case "win32":
            options |= {"offset_x": str(x), "offset_y": str(y), "draw_mouse": str(int(cursor))}
            return Address("desktop", "screen", "gdigrab", options)
        case _:
            display = display or os.environ.get("DISPLAY", "")
            if not re.fullmatch(r"[\w.-]*:\d+(\.\d+)?", display):
                raise ConfigError(
                    f"there is no display {display!r}: set DISPLAY, as in DISPLAY=:0, or give display"
                    if display
                    else "there is no display: set DISPLAY, as in DISPLAY=:0 (xvfb-run makes one without a screen)"
                )
            options |= {"grab_x": str(x), "grab_y": str(y), "draw_mouse": str(int(cursor))}
            return Address(display, "screen", "x11grab", options)
