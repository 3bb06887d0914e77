"""`rtseg studio` before it serves: what it wants, and what it says where that is not there."""

from __future__ import annotations

import sys

import pytest

from rtseg.cli.main import main


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["studio", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_an_address_that_others_reach_wants_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--host", "0.0.0.0") == 2
    assert "need a token" in " ".join(capsys.readouterr().err.split())


def test_without_aiortc_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi", reason="needs the extra serve")
    for name in [name for name in sys.modules if name.startswith(("rtseg.service", "aiortc"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiortc", None)
    assert ended("--port", "0") == 2
    assert "rtseg[webrtc]" in capsys.readouterr().err
