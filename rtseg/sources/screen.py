"""The screen as a source: X11 on Linux, gdigrab on Windows, AVFoundation on macOS."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from functools import partial

from rtseg.errors import ConfigError
from rtseg.sources.connection import Address, Connection
from rtseg.sources.reconnect import Backoff, LinkChange, Reconnecting


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
            partial(Connection, address, open_timeout=open_timeout, read_timeout=read_timeout, max_pixels=8192 * 8192),
            name=address.name,
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            backoff=backoff,
            attempts=attempts,
            changed=changed,
        )


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
