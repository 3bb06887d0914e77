"""Makes the pictures of docs/studio.md: the studio page in a real Chromium, with a clip for a camera.

rtseg run sample -o sample.mp4 --background none
python scripts/studio_pictures.py sample.mp4

Each is a PNG of 256 colours in docs/images, below 300 kB.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.browsers import Studio, browser, camera_file, studio  # noqa: E402

FOLDER = ROOT / "docs" / "images"
LIMIT = 300_000


def keep(page: Any, name: str, **options: Any) -> None:
    """A screenshot, its colours reduced."""
    with Image.open(io.BytesIO(page.screenshot(**options))) as picture:
        rgb = picture.convert("RGB")
    small = rgb.quantize(palette=rgb.quantize(256), dither=Image.Dither.FLOYDSTEINBERG)
    path = FOLDER / name
    small.save(path, optimize=True)
    size = path.stat().st_size
    assert size < LIMIT, f"{path.name} has {size} bytes: take a smaller part"
    print(f"{path.relative_to(ROOT)}: {size} bytes")


def begin(page: Any, server: Studio) -> None:
    """A page that is live."""
    page.goto(f"{server.url}studio/")
    page.click("#start")
    page.wait_for_selector("#state[data-state=live]", timeout=30_000)


def main(clip: Path) -> None:
    """All of them."""
    with tempfile.TemporaryDirectory() as place, studio(Path(place)) as server:
        folder = Path(place)
        camera = camera_file(clip, folder)
        desk = {"viewport": {"width": 1240, "height": 1060}}
        with browser(folder / "light", camera=camera, **desk) as page:
            begin(page, server)
            page.click("text=Sea")
            page.click("#compare")
            page.wait_for_timeout(25_000)  # for a chart with something on it
            page.evaluate("() => { document.getElementById('camera').options[0].text = 'Built-in camera'; }")
            keep(page, "studio.png")
        phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
        with browser(folder / "dark", camera=camera, **phone) as page:
            begin(page, server)
            page.check("input[value=Studio]")
            page.wait_for_timeout(6000)
            page.evaluate("scrollTo(0, 0)")
            keep(page, "studio-phone.png")
        with browser(folder / "refused", camera=camera, refused=True, viewport={"width": 900, "height": 620}) as page:
            page.goto(f"{server.url}studio/")
            page.click("#start")
            page.wait_for_selector("#trouble:not([hidden])")
            keep(page, "studio-refused.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
