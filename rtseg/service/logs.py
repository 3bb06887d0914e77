"""The service's log: a JSON object a line, credentials out, whatever a client puts into its request."""

from __future__ import annotations

import json
import logging
import re
import time
import traceback
from typing import Any, TextIO

from rtseg import places

_PASSWORD = re.compile(r"(?<=://)[^/\s@\"']*@")
_BEARER = re.compile(
    r"(?i)(\b(?:bearer|basic|token|password|secret|authorization)\b[\"']?[\s:=]+[\"']?(?:(?:bearer|basic)\s+)?)"
    r"[^\s\"',;&]+"
)
_HIDDEN = "[hidden]"

_log = logging.getLogger("rtseg.service")


def redact(text: str, *secrets: str | None) -> str:
    """Without user:password@ of addresses, keys of RTMP, what follows bearer, token and the like, and given secrets."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, _HIDDEN)
    return _BEARER.sub(rf"\1{_HIDDEN}", _PASSWORD.sub(f"{_HIDDEN}@", places.redact(text)))


class JsonLines(logging.Formatter):
    """A record as one line of JSON (ASCII, control characters escaped); `fields` of a record are keys of their own."""

    def __init__(self, *secrets: str | None) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """Time in UTC, level, logger, message, fields, and the traceback of an error nobody expected."""
        values: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            values["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        shown = {k: redact(v, *self._secrets) if isinstance(v, str) else v for k, v in values.items()}
        return json.dumps(shown, separators=(",", ":"))


def log_requests(stream: TextIO, token: str | None) -> None:
    """Send the log of the service and of uvicorn to `stream`, and the warnings of the rest of rtseg."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(token))
    for name, level in (("rtseg", logging.WARNING), ("uvicorn", logging.INFO)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    _log.setLevel(logging.INFO)


def log_request(**fields: Any) -> None:
    """One line for one request."""
    _log.info("request", extra={"fields": fields})


def log_failure(error: BaseException | str, **fields: Any) -> None:
    """One line for an error that is a bug, with its traceback, which workers give as text."""
    if isinstance(error, str):
        _log.error("internal error", extra={"fields": {**fields, "traceback": error}})
    else:
        _log.error("internal error", exc_info=error, extra={"fields": fields})
