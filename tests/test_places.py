"""What of an address may be shown."""

from __future__ import annotations

import pytest

from rtseg.places import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://camera.local:554/live", "rtsp://camera.local:554/live"),
        ("rtsp://anna:secret@camera.local/live", "rtsp://[hidden]@camera.local/live"),
        ("RTSP://anna@camera.local", "RTSP://[hidden]@camera.local"),
        ("rtsp://anna:sec@ret@camera/live", "rtsp://[hidden]@camera/live"),
        ("rtsp://anna:sec/re?t@camera/live", "rtsp://[hidden]@camera/live"),
        ("rtsp://anna:s@camera/live?token=abc@d", "rtsp://[hidden]@d"),
        ("https://host/a.m3u8?token=abc#part", "https://host/a.m3u8?[hidden]"),
        ("rtmp://host/live/secret-key", "rtmp://host/live/[hidden]"),
        ("rtmps://host/live/secret/key?x=1", "rtmps://host/live/[hidden]?[hidden]"),
        ("rtmp://host/live", "rtmp://host/live"),
        (
            "cannot open 'rtsp://a:b@h/x' and \"http://c:d@h\"",
            "cannot open 'rtsp://[hidden]@h/x' and \"http://[hidden]@h\"",
        ),
        ("/dev/video0", "/dev/video0"),
        ("a:b@c", "a:b@c"),
    ],
)
def test_an_address_is_shown_without_what_is_secret(text: str, shown: str) -> None:
    assert redact(text) == shown
