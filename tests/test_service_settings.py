from __future__ import annotations

import json
import logging
import socket
from typing import Any

import pytest

from rtseg.errors import ConfigError
from rtseg.service.logs import JsonLines
from rtseg.service.refusals import Refusal, one_line, refusal_of
from rtseg.service.server import listen
from rtseg.service.settings import Settings, is_loopback

TOKEN = "a-token-of-24-characters"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
def test_another_host_wants_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="token"):
        Settings(host=host)
    assert Settings(host=host, token=TOKEN).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST."])
def test_this_machine_needs_none(host: str) -> None:
    assert is_loopback(host)
    assert Settings(host=host).token is None


@pytest.mark.parametrize("host", ["", "localhost.example.org", "127.0.0.1.example.org", "0.0.0.0", "10.0.0.1"])
def test_what_only_looks_like_this_machine_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": "short"},
        {"token": "with a space in the middle"},
        {"models": ()},
        {"workers": 0},
        {"queue": -1},
        {"max_bytes": 0},
        {"timeout": 0.0},
        {"timeout": float("nan")},
    ],
)
def test_what_cannot_be_served_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Settings(**wrong)


def test_the_token_is_not_shown() -> None:
    assert TOKEN not in repr(Settings(token=TOKEN))


def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: .*another port"):
            listen(Settings(port=port))


def record(message: str, **fields: Any) -> str:
    made = logging.makeLogRecord({"msg": message, "levelno": 20, "levelname": "INFO", "name": "x", "fields": fields})
    return JsonLines(TOKEN).format(made)


@pytest.mark.parametrize(
    "text",
    [
        f"got {TOKEN} from a client",
        "rtsp://user:hunter2@camera/1",
        "https://hunter2@host/",
        "Authorization: Bearer hunter2",
        "authorization: Basic hunter2",
        "?token=hunter2&x=1",
        '{"password": "hunter2"}',
    ],
)
def test_credentials_are_not_logged(text: str) -> None:
    for line in (record(text), record("request", path=text)):
        assert "hunter2" not in line
        assert TOKEN not in line
        assert "[hidden]" in line


def test_a_record_is_one_line_whatever_is_in_it() -> None:
    line = record("a\r\nb\x1b[31m\u2028c\x00", path="/\n{")
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["path"] == "/\n{"


def test_an_unknown_error_says_nothing_of_itself() -> None:
    refusal = refusal_of(RuntimeError("/home/somebody/secret.onnx"))
    assert (refusal.status, refusal.message) == (500, "internal error: the log of the service has more")


def test_messages_are_one_line() -> None:
    assert Refusal(400, "a\r\nSet-Cookie: b\x00\x1b").body == {"error": "a Set-Cookie: b"}
    assert one_line("a\u2028b") == "a b"
