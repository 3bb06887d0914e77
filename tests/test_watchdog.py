from __future__ import annotations

import gc
import math
import subprocess
import sys
import threading
import time
import weakref

from rtseg.inference.watchdog import Deadline


def test_a_run_past_its_deadline_is_ended_once_and_within_a_second() -> None:
    ended = threading.Event()
    calls: list[str] = []

    def expire() -> None:
        calls.append(threading.current_thread().name)
        ended.set()

    deadline = Deadline(0.2, expire)
    began = time.monotonic()
    deadline.start()
    assert ended.wait(5)
    assert 0.2 <= time.monotonic() - began < 1.2
    assert deadline.look(math.inf)  # still under way, but not ended a second time
    assert deadline.stop()
    assert calls == ["rtseg-watchdog"]


def test_a_run_that_stopped_in_time_is_not_ended() -> None:
    calls: list[int] = []
    deadline = Deadline(1000.0, lambda: calls.append(1))
    assert not deadline.look(time.monotonic())
    deadline.start()
    assert deadline.look(time.monotonic())
    assert not deadline.stop()
    assert not deadline.look(time.monotonic() + 2000)
    assert calls == []


def test_a_deadline_serves_run_after_run() -> None:
    calls: list[int] = []
    deadline = Deadline(1000.0, lambda: calls.append(1))
    for run in range(1, 4):
        deadline.start()
        deadline.look(time.monotonic() + 1001)
        assert len(calls) == run
        assert deadline.stop()
        deadline.start()
        assert not deadline.stop()


def test_deadlines_at_the_same_time_do_not_meddle() -> None:
    short, long = threading.Event(), threading.Event()
    deadlines = [Deadline(0.1, short.set), Deadline(1000.0, long.set)]
    for deadline in deadlines:
        deadline.start()
    assert short.wait(5)
    assert [deadline.stop() for deadline in deadlines] == [True, False]
    assert not long.is_set()


def test_the_watchdog_keeps_nobody_alive() -> None:
    deadline = Deadline(1000.0, lambda: None)
    deadline.start()
    deadline.stop()
    gone = weakref.ref(deadline)
    del deadline
    began = time.monotonic()
    while gone() is not None and time.monotonic() - began < 5:  # a look of the thread may hold it for a moment
        gc.collect()
    assert gone() is None


def test_a_forked_process_has_a_watchdog_of_its_own() -> None:
    script = """
import os, threading
from rtseg.inference.watchdog import Deadline
ended = threading.Event()
deadline = Deadline(0.1, ended.set)
deadline.start()
assert ended.wait(5)
deadline.stop()
if child := os.fork():
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
ended.clear()
deadline.start()
os._exit(0 if ended.wait(5) else 9)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=30, check=False)
    assert done.returncode == 0
