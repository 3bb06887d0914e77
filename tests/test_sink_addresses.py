"""Addresses of live outputs: what each stands for, and what is refused without telling a password."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from rtseg.config import Plugin, SinkOptions
from rtseg.errors import ConfigError
from rtseg.sinks.addresses import parse_address, split_url


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("rtmp://live.example/app/key", {"type": "stream", "url": "rtmp://live.example/app/key"}),
        ("rtmps://live.example/app/key", {"type": "stream", "url": "rtmps://live.example/app/key"}),
        ("rtsp://10.0.0.1:8554/cam", {"type": "stream", "url": "rtsp://10.0.0.1:8554/cam"}),
        (" udp://239.0.0.1:5000 ", {"type": "stream", "url": "udp://239.0.0.1:5000"}),
        ("udp://host:5000?pkt_size=1316", {"type": "stream", "url": "udp://host:5000?pkt_size=1316"}),
        ("tcp://[::1]:5000", {"type": "stream", "url": "tcp://[::1]:5000"}),
        ("mjpeg:8090", {"type": "mjpeg", "port": 8090}),
        ("http://127.0.0.1:8090/", {"type": "mjpeg", "host": "127.0.0.1", "port": 8090}),
        ("http://localhost:8090", {"type": "mjpeg", "host": "localhost", "port": 8090}),
        ("camera", {"type": "virtual_camera"}),
        ("/dev/video10", {"type": "virtual_camera", "device": "/dev/video10"}),
        ("window", {"type": "window"}),
        ("out.MP4", {"type": "video", "path": "out.MP4"}),
        ("folder/out.mkv", {"type": "video", "path": "folder/out.mkv"}),
    ],
)
def test_an_address_is_a_table_of_sinks(text: str, table: dict[str, Any]) -> None:
    assert parse_address(text) == table
    options: Any = TypeAdapter(SinkOptions).validate_python(table)
    assert not isinstance(options, Plugin)
    assert options.type == table["type"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("srt://host:5000", "is no output"),
        ("out.txt", "is no output"),
        ("", "is no output"),
        ("/dev/null", "is no output"),
        ("mjpeg:", "names no port"),
        ("mjpeg:70000", "names no port"),
        ("mjpeg:-1", "names no port"),
        ("udp://127.0.0.1", "names no port"),
        ("tcp://:5000", "names no host"),
        ("rtmp:///live/key", "names no host"),
        ("tcp://host:5000?listen=1", "the other end listens"),
        ("udp://host:5000?pkt_size=9000", "more than a host and a port"),
        ("udp://host:5000/stream", "more than a host and a port"),
        ("udp://host:99999", "is no address"),
        ("rtsp://host/a b", "as %20"),
        ("rtsp://host/a\nb", "as %20"),
        ("http://127.0.0.1:8090/page", "is no MJPEG output"),
        ("https://127.0.0.1:8090/", "is no output"),
        ("file:///etc/passwd", "is no output"),
    ],
)
def test_what_is_no_address_is_one_clear_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse_address(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["srt://ada:secret@host/x", "http://ada:secret@host:1/", "udp://ada:secret@host"])
def test_no_message_has_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url)
    assert "secret" not in str(caught.value)
    assert "host" in str(caught.value)


def test_a_stream_to_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match="begins with 'http'"):
        split_url("http://host:1/")
