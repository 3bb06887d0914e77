"""A real browser without a window: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.browsers import FLAGS, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page


@contextmanager
def page(*options: str, **settings: Any) -> Iterator[Page]:
    """An empty page; skips where the browser or its driver is not installed. settings: of the context."""
    sync = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    program = chromium()
    if program is None:
        pytest.skip("no browser: apt install chromium")
    with sync.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=[*FLAGS, "--force-color-profile=srgb", *options])
        try:
            yield browser.new_context(**settings).new_page()
        finally:
            browser.close()


@contextmanager
def opened(path: Path, **settings: Any) -> Iterator[tuple[Page, list[str], list[str]]]:
    """The page, what it asked for, and what went wrong in it."""
    with page("--autoplay-policy=no-user-gesture-required", **settings) as tab:
        asked: list[str] = []
        wrong: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        tab.goto(path.as_uri())
        yield tab, asked, wrong


def until(tab: Page, told: str) -> None:
    """Wait for it, ten seconds at most; the page's policy lets Playwright not do it itself."""
    for _ in range(200):
        if tab.evaluate(told):
            return
        tab.wait_for_timeout(50)
    pytest.fail(f"never: {told}")
