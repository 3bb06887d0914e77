"""A real browser without a window: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
