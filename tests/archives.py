"""Small archives, and an analyzer that sees an event in each."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from rtseg.api import run
from rtseg.archive.tasks import Result, Task, work
from rtseg.driving.state import Event, Obstacle, observe_event, observe_obstacle
from rtseg.types import Frame, Observation, Segmentation

PATTERN = "synthetic:testsrc2=size=320x180:rate=10:duration=0.5"
"""Five frames."""
REPEATED = "h264:preset=ultrafast"
"""Slower presets do not always make the same bytes of the same pictures (`docs/batch.md`)."""


class Watcher:
    """Sees a vehicle in every frame, and cuts in from the second frame to the fourth."""

    def __init__(self, *, calibration: str = "") -> None:
        self.calibration = calibration
        self.start = 0

    def __call__(self, frame: Frame, _: Segmentation, /) -> Sequence[Observation]:
        seen = [observe_obstacle(Obstacle(1, "vehicle", (0.0, 0.0, 9.0, 9.0), 0.5, lead=True), frame.pts)]
        phases = {1: "begin", 2: "on", 3: "end"}
        if (phase := phases.get(frame.index)) is not None:
            self.start = frame.pts if phase == "begin" else self.start
            event = Event("cut_in", "info", self.start, phase, (frame.index - 1) / 10, {})  # type: ignore[arg-type]
            seen.append(observe_event(event, frame.pts))
        return seen

    def reset(self) -> None:
        pass


def archive(folder: Path, count: int) -> Path:
    """Videos of five frames, no two alike: 000.mp4, and every other one in a folder below."""
    for index in range(count):
        path = folder / ("below" if index % 2 else ".") / f"{index:03}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        run(f"{PATTERN},hue=h={index * 7}", path, background="none", model="portrait-fast")
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Every output with the hash of its bytes; not the journal, whose lines are in order of time."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "journal.jsonl"
    }


def dies(task: Task, _: object = None) -> Result:
    """Work during which the process is lost, for the file that is called so."""
    if "001" in task.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return work(task)


def hangs(task: Task, _: object = None) -> Result:
    """Work that does not end within a test."""
    task.folder.mkdir(parents=True)
    (task.folder / "pid").write_text(str(os.getpid()))
    time.sleep(60)
    return work(task)


def lasts(task: Task) -> Result:
    """Work that waits for a node to be killed, and says on which node of a cluster it is."""
    import ray

    starts = task.folder.parent.parent / "starts"
    starts.mkdir(exist_ok=True)
    mark = starts / f"{task.folder.name} {ray.get_runtime_context().get_node_id()}"
    mark.write_text("begun")
    node, go = ray.get_runtime_context().get_node_id(), starts.parent / "go"
    for _ in range(600):  # all but the first of a node wait until the test has killed another, half a minute at most
        first = len(list(starts.glob(f"* {node}"))) == 1
        if first or (go.exists() and go.read_text() != node):
            break
        time.sleep(0.05)
    result = work(task)
    mark.write_text("ended")
    return result
