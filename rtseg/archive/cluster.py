"""Files done by the nodes of a Ray cluster; what a lost node was working on is begun again on another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from rtseg.archive.tasks import DIED, Result, Task, work
from rtseg.archive.workers import Finished
from rtseg.live.cluster import connect

_TRIES = 4
"""How often a file is begun, whose process or node dies each time."""


class ClusterWorkers:
    """Tasks of Ray, a core each. address: "auto", or HOST:PORT of the head. count: at once; None for all cores. do:
    what a node does with a task.

    Input and output are named by paths, which must lead to the same files on every node (a shared file system). Raises
    ConfigError where no cluster answers.
    """

    def __init__(self, address: str, count: int | None = None, *, do: Callable[[Task], Result] = work) -> None:
        self._ours = connect(address)
        self._count = count
        self._work = ray.remote(num_cpus=1, max_retries=0)(do)
        self._tasks: dict[Any, tuple[Task, int]] = {}

    @property
    def room(self) -> int:
        """How many more files may be begun; a node that joins makes more."""
        count = self._count or max(1, int(ray.cluster_resources().get("CPU", 1)))
        return count - len(self._tasks)

    def begin(self, task: Task, /) -> None:
        """Give a file to the cluster."""
        self._begin(task, 1)

    def wait(self, seconds: float, /) -> list[Finished]:
        """What was finished, waited for so long."""
        ready, _ = ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        done: list[Finished] = []
        for reference in ready:
            task, tries = self._tasks.pop(reference)
            try:
                done.append(Finished(task, ray.get(reference)))
            except RayTaskError as error:
                done.append(Finished(task, Result("failed", f"internal error: {error.cause}", code=1)))
            except RayError:
                if tries < _TRIES:
                    self._begin(task.again(), tries + 1)  # the first may still be writing
                else:
                    done.append(Finished(task, Result("failed", DIED, code=1)))
        return done

    def frames(self) -> dict[str, int]:
        """The files that are being worked on; how far they are, nodes do not say."""
        return {task.name: 0 for task, _ in self._tasks.values()}

    def close(self) -> None:
        """End what runs, and leave the cluster."""
        for reference in self._tasks:
            with contextlib.suppress(RayError):
                ray.cancel(reference, force=True)
        self._tasks.clear()
        if self._ours:
            ray.shutdown()

    def _begin(self, task: Task, tries: int) -> None:
        self._tasks[self._work.remote(task)] = task, tries
