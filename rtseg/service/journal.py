"""What happened to streams: numbered events, kept for those who come back, and a line in the log for each."""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rtseg.live.fleet import Fleet
from rtseg.live.stream import StreamStatus
from rtseg.places import redact
from rtseg.service.refusals import one_line
from rtseg.service.stream_schemas import EventAnswer

_log = logging.getLogger("rtseg.service")

INTERVAL = 0.1
"""Seconds between two looks: what comes and goes in between is not seen, but for frames closed to view."""
_KEPT = 1000


@dataclass(frozen=True, slots=True)
class _Seen:
    """What events are made of."""

    state: str
    link: str
    rung: str
    closed: bool
    held: int
    sinks: Mapping[str, str]
    error: str | None


class Journal:
    """Looks at all streams ten times a second, and notes what changed. For any thread; `close` ends its own.

    An event's id is "RUN-NUMBER": another run of the service begins another series.
    """

    def __init__(self, fleet: Fleet, *, interval: float = INTERVAL) -> None:
        self._fleet, self._interval = fleet, interval
        self._run = secrets.token_hex(4)
        self._changed = threading.Condition()
        self._events: deque[tuple[int, EventAnswer]] = deque(maxlen=_KEPT)
        self._number = 0
        self._seen: dict[str, _Seen] = {}
        self._closing = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._work, name="rtseg-journal", daemon=True)
        self._thread.start()

    @property
    def last(self) -> str:
        """The id of the newest event."""
        with self._changed:
            return f"{self._run}-{self._number}"

    def after(self, last: str | None, stream: str) -> list[EventAnswer]:
        """The events of a stream that came after the one of that id; all that are kept where it is of another run."""
        run, _, number = (last or "").rpartition("-")
        known = int(number) if run == self._run and number.isdecimal() and len(number) < 19 else -1
        with self._changed:
            return [event for count, event in self._events if count > known and event.stream == stream]

    def close(self) -> None:
        """End; what streams did until now is noted first."""
        self._closing.set()
        self._thread.join()

    def _work(self) -> None:
        pause = self._interval
        while not self._closing.wait(pause):
            began = time.monotonic()
            self._look()
            pause = max(self._interval, 20 * (time.monotonic() - began))  # a twentieth of a core at most
        self._look()

    def _look(self) -> None:
        try:
            found = self._fleet.list()
        except Exception as error:  # the next look may succeed, and the journal goes on
            _log.warning("the streams could not be looked at: %s", redact(str(error)))
            return
        for name, status in found.items():
            before, now = self._seen.get(name), _seen(status, self._seen.get(name))
            self._seen[name] = now
            for kind, was, became, detail in _changes(before, now):
                self._note(name, kind, was, became, detail)
        for name in [name for name in self._seen if name not in found]:
            del self._seen[name]
            self._note(name, "stream", "there", "removed", None)

    def _note(self, stream: str, kind: str, before: str | None, after: str | None, detail: str | None) -> None:
        with self._changed:
            self._number += 1
            event = EventAnswer.model_validate(
                {
                    "id": f"{self._run}-{self._number}",
                    "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + "Z",
                    "stream": stream,
                    "kind": kind,
                    "before": before,
                    "after": after,
                    "detail": None if detail is None else one_line(public_text(detail))[:500],
                }
            )
            self._events.append((self._number, event))
        _log.info("stream", extra={"fields": event.model_dump(exclude={"time"}, exclude_none=True)})


def public_name(key: str) -> str:
    """An output's name for those who are not the operator: no password, no folder."""
    kind, colon, place = redact(key).partition(":")
    return f"{kind}:{place.rpartition('/')[2]}" if colon and not place.startswith("//") else redact(key)


_COLLAPSED = re.compile(r"\b([a-z][a-z0-9+.-]+:/)(?:[^/\s@]*@)?([^\s?]*)(\?\S*)?")
_PATH = re.compile(r"(?<![\w\]:/.@-])(?:/[^\s/'\"]+)+/(?=[^\s/'\"])")


def public_text(text: str) -> str:
    """A message without secrets, also in addresses whose slashes became one because somebody took them for a path, and
    without the folders that files are in."""  # fmt: skip
    shown = _COLLAPSED.sub(lambda m: f"{m[1]}{m[2]}{'?[hidden]' if m[3] else ''}", redact(text))
    return _PATH.sub("", shown)


def _seen(status: StreamStatus, before: _Seen | None) -> _Seen:
    # A slate that was asked for is no fault: only frames that nobody wanted to be closed count.
    fresh = status.held - (before.held if before else 0)
    closed = status.state == "closed to view" or (fresh > 0 and not status.scene.slate)
    sinks = {public_name(name): sink.state.value for name, sink in status.sinks.items()}
    errors = [status.error, *(sink.error for sink in status.sinks.values())]
    return _Seen(
        status.state, status.link, status.rung, closed, status.held, sinks, next((e for e in errors if e), None)
    )


def _changes(before: _Seen | None, now: _Seen) -> Iterator[tuple[str, str | None, str | None, str | None]]:
    if before is None:
        yield "stream", None, "added", None
    was_state, was_link, was_closed = (
        (None, None, False) if before is None else (before.state, before.link, before.closed)
    )
    if was_state != now.state:
        yield "state", was_state, now.state, now.error
    if was_link != now.link:
        yield "link", was_link, now.link, now.error
    if before is not None and before.rung != now.rung:
        yield "ladder", before.rung, now.rung, None
    if was_closed != now.closed:
        yield "privacy", _view(was_closed), _view(now.closed), now.error
    old = {} if before is None else before.sinks
    for name in {**old, **now.sinks}:
        if old.get(name) != now.sinks.get(name):
            yield "sink", old.get(name), now.sinks.get(name), f"{name}: {now.error}" if now.error else name


def _view(closed: bool) -> str:
    return "closed" if closed else "open"
