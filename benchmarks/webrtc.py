"""A camera through the service and back in a real Chromium: frames, glass to glass, CPU; and connections cut short.

python -m benchmarks.webrtc CLIP [--seconds 20] [--size 640x480] [--cycles 200] [--json FILE]

The fake camera's frames carry their number in twelve blocks at the top, black or white. What is shown of it by the
camera and by the picture that came back is read in the page: glass to glass is from the moment that the browser took
the frame from its camera until the moment that it shows the composited one. The background is blurred, as usual;
blocks are so large that they can be read through it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.browsers import Studio, browser, camera_file, studio
from benchmarks.callers import Caller, Camera
from benchmarks.measure import machine
from rtseg.ops.arrays import U8

BITS = 11
_BLOCKS, _HIGH = BITS + 1, 40
_WATCH = """(blocks) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 4 * blocks, height: 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const read = (video) => {
    context.drawImage(video, 0, video.videoHeight / 60, video.videoWidth, video.videoHeight / 24, 0, 0, 4 * blocks, 1);
    const pixels = context.getImageData(0, 0, 4 * blocks, 1).data;
    let number = 0, ones = 0;
    for (let block = 0; block < blocks; block += 1) {
      const level = pixels[4 * (4 * block + 1) + 1] + pixels[4 * (4 * block + 2) + 1];
      const bit = level > 255 ? 1 : 0;
      ones += bit;
      if (block < blocks - 1) number = 2 * number + bit;
    }
    return ones % 2 ? -1 : number;
  };
  window.seen = { before: [], after: [] };
  const follow = (video, list, time) => {
    const take = (now, metadata) => {
      list.push([read(video), time(now, metadata)]);
      video.requestVideoFrameCallback(take);
    };
    video.requestVideoFrameCallback(take);
  };
  const camera = document.createElement("video");
  Object.assign(camera, { srcObject: document.getElementById("before").srcObject, muted: true });
  camera.style.cssText = "position:fixed;right:0;bottom:0;width:64px;height:48px";
  document.body.append(camera);
  camera.play();
  follow(camera, window.seen.before, (now, metadata) => metadata.captureTime ?? metadata.presentationTime);
  follow(document.getElementById("after"), window.seen.after, (now, metadata) => metadata.expectedDisplayTime);
}"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    width, height = (int(side) for side in options.size.split("x"))
    said: dict[str, Any] = {"machine": machine(), "size": options.size, "clip": options.clip.name}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if options.seconds:
            camera = camera_file(options.clip, folder, size=(width, height), frames=300, draw=draw_number)
            said |= round_trip(folder, camera, options.seconds, options.size)
        if options.cycles:
            said |= asyncio.run(aborted(folder, options.cycles))
    print(json.dumps(said, indent=2))
    if options.json:
        options.json.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    return 0


def draw_number(luma: U8, number: int) -> None:
    """Write a frame's number into the top of its luma, most significant bit first, and a bit that makes ones even."""
    bits = [number >> place & 1 for place in reversed(range(BITS))]
    bits.append(sum(bits) % 2)
    width = luma.shape[1]
    for place, bit in enumerate(bits):
        left, right = place * width // _BLOCKS, (place + 1) * width // _BLOCKS
        luma[: luma.shape[0] * _HIGH // 480, left:right] = 235 if bit else 16


def round_trip(folder: Path, camera: Path, seconds: float, size: str) -> dict[str, Any]:
    """One browser and one service on this machine."""
    with studio(folder, "--model", "portrait") as server, browser(folder, camera=camera) as page:
        page.goto(f"{server.url}studio/")
        page.select_option("#size", size)
        page.click("#start")
        page.wait_for_selector("#state[data-state=live]", timeout=30_000)
        page.wait_for_timeout(5000)  # until the bit rate has settled
        page.evaluate(
            "() => { window.told = [];"
            " rtsegStudio.link.addEventListener('stats', ({ detail }) => window.told.push(detail)); }"
        )
        page.evaluate(_WATCH, _BLOCKS)
        page.wait_for_timeout(500)
        page.evaluate("() => { seen.before.length = seen.after.length = 0; }")
        chromium = _children(os.getpid(), but=server.process.pid)
        before = (_cpu([server.process.pid]), _cpu(chromium), time.monotonic())
        page.wait_for_timeout(seconds * 1000)
        took = time.monotonic() - before[2]
        service_cpu = (_cpu([server.process.pid]) - before[0]) / took
        browser_cpu = (_cpu(chromium) - before[1]) / took
        seen, told = page.evaluate("() => seen"), page.evaluate("() => window.told")
        estimate = page.evaluate("() => rtsegStudio.figures.delay")
    delays = glass_to_glass(seen["before"], seen["after"])
    known = {number for number, _ in seen["after"] if number >= 0}
    return {
        "seconds": round(took, 1),
        "fps_shown": round(len(seen["after"]) / took, 1),
        "fps_camera": round(len(seen["before"]) / took, 1),
        "fps_service": round(statistics.median(figures["fps"] for figures in told), 1),
        "glass_to_glass_ms": {f"p{part}": round(float(np.percentile(delays, part)), 1) for part in (50, 95, 99)},
        "delay_the_page_shows_ms": round(estimate, 1),
        "in_the_service_ms": statistics.median(figures["latency"]["p50"] for figures in told),
        "numbers_read": f"{len(delays)} of {len(seen['after'])} pictures, {len(known)} numbers",
        "cores_service": round(service_cpu, 2),
        "cores_browser": round(browser_cpu, 2),
        "load_average": round(os.getloadavg()[0], 1),
    }


def glass_to_glass(before: Sequence[tuple[int, float]], after: Sequence[tuple[int, float]]) -> list[float]:
    """Milliseconds from each number's newest capture to its first showing; unreadable numbers are left out."""
    delays, shown = [], set()
    for number, at in after:
        taken = [when for other, when in before if other == number and when <= at]
        if number >= 0 and taken and (number, taken[-1]) not in shown and at - taken[-1] < 5000:
            shown.add((number, taken[-1]))
            delays.append(at - taken[-1])
    return delays


async def aborted(folder: Path, cycles: int) -> dict[str, Any]:
    """Connections that are cut short at four places, and what the service holds before and after them."""
    with studio(folder, "--model", "portrait", "--cameras", 64) as server:
        for _ in range(6):  # pools of threads at their size, and the model loaded
            await asyncio.gather(*(_cut_short(server, number) for number in range(12)))
        await asyncio.sleep(14)
        first = _held(server.process.pid)
        for number in range(cycles):
            await _cut_short(server, number)
        last, began = _held(server.process.pid), time.monotonic()
        settled: float | None = None
        while time.monotonic() - began < 15:
            last = _held(server.process.pid)
            if settled is None and last["threads"] <= first["threads"] and last["files"] <= first["files"]:
                settled = time.monotonic() - began
            await asyncio.sleep(0.25)
    return {
        "cycles": cycles,
        "held_before": first,
        "held_after": last,
        "settled_after_s": None if settled is None else round(settled, 1),
    }


async def _cut_short(server: Studio, number: int) -> None:
    """0: left after the offer, with a goodbye; 1: without one; 2: after the answer; 3: after a picture."""
    caller = Caller()
    caller.send(Camera((320, 240)))
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=20, verify=False) as client:
            for _ in range(40):
                answer = await client.post("/v1/webrtc/offer", json={"sdp": await caller.offer()})
                if answer.status_code != 503:
                    break
                await asyncio.sleep(0.5)
            made = answer.raise_for_status().json()
            if number % 4 == 0:
                await client.delete(f"/v1/webrtc/{made['id']}")
            if number % 4 >= 2:
                await caller.take(made["sdp"])
            end = time.monotonic() + 10
            while number % 4 == 3 and not caller.count and time.monotonic() < end:
                await asyncio.sleep(0.01)
    finally:
        await caller.close()


def _held(process: int) -> dict[str, float]:
    status = Path(f"/proc/{process}/status").read_text()
    values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {
        "threads": int(values["Threads"]),
        "files": len(list(Path(f"/proc/{process}/fd").iterdir())),
        "resident_mb": round(int(values["VmRSS"].split()[0]) / 1024, 1),
    }


def _children(process: int, *, but: int) -> list[int]:
    """All descendants of a process, but for one and its own."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, new = [], [process]
    while new:
        new = [child for child, parent in parents.items() if parent in new and child != but]
        found += new
    return found


def _cpu(processes: Sequence[int]) -> float:
    """Seconds of CPU so far."""
    ticks = 0
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--seconds", type=float, default=20, help="0 leaves the round trip out")
    parser.add_argument("--size", default="640x480", choices=("640x360", "640x480", "1280x720"))
    parser.add_argument("--cycles", type=int, default=200, help="0 leaves them out")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
