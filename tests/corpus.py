"""Runs the command line over a folder of odd, broken and hostile files, each in a forked child with limits.

    python tests/corpus.py FOLDER [--seconds 1] [--limit 20] [--jobs 2]

Prints a JSON line a file: what it ended as ("done", "partial", "refused", "signal 11", "too slow", "traceback", ...),
the seconds it took and what it said. --seconds cuts each input (default: to its end). Forking after the imports
spares half a second a file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, TypeAlias

from rtseg.errors import EXIT_PARTIAL, ConfigError, SourceError
from rtseg.options import PICTURES

MEMORY = 6 << 30
ENDS = {0: "done", EXIT_PARTIAL: "partial", SourceError.exit_code: "refused", ConfigError.exit_code: "refused"}


Result: TypeAlias = dict[str, object]


def run_all(files: Sequence[Path], *, seconds: float | None, limit: float, jobs: int = 2) -> Iterator[Result]:
    """One result for each file, in their order."""
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:
        folders = [Path(scratch) / str(number) for number in range(len(files))]
        yield from pool.map(lambda file, folder: run_one(file, folder, seconds=seconds, limit=limit), files, folders)


def run_one(file: Path, folder: Path, *, seconds: float | None, limit: float) -> Result:
    """Run `rtseg run` on one file in a child that may use `limit` seconds and six gigabytes of addresses of its own."""
    folder.mkdir()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(file, folder, seconds)
    status = _wait(child, started + limit)
    said = (folder / "stderr").read_text(errors="replace") if (folder / "stderr").exists() else ""
    left = sorted(p.name for p in folder.iterdir() if p.name not in ("stderr", "stdout", "out.mkv"))
    written = (folder / "out.mkv").stat().st_size if (folder / "out.mkv").exists() else None
    result = {
        "file": file.name,
        "end": _name(status, said, left, written),
        "seconds": round(time.monotonic() - started, 2),
        "said": said.strip()[-400:],
    }
    for path in folder.iterdir():
        path.unlink()
    return result


def held_addresses() -> int:
    """Bytes of addresses that this process has: a forked child begins with what its parent imported."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _child(file: Path, folder: Path, seconds: float | None) -> NoReturn:
    code = 70
    try:
        limit = held_addresses() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number, name in ((0, os.devnull), (1, folder / "stdout"), (2, folder / "stderr")):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
        from rtseg.cli.main import main

        cut = [] if seconds is None or file.suffix in PICTURES else ["--end", str(seconds)]
        try:
            main(["run", str(file), "-o", str(folder / "out.mkv"), "--codec", "h264:preset=ultrafast", *cut])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        sys.stderr.flush()
    finally:
        os._exit(code)


def _wait(child: int, deadline: float) -> int | None:
    """The wait status, or None for a child that had to be ended."""
    pause = 0.005
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _name(status: int | None, said: str, left: list[str], written: int | None) -> str:
    if status is None:
        return "too slow"
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    code = os.waitstatus_to_exitcode(status)
    if "Traceback" in said or "internal error" in said:
        return "traceback"
    if code not in ENDS:
        return f"exit {code}"
    if left:
        return f"left {', '.join(left)}"
    if (ENDS[code] == "refused") != (written is None):
        return f"{ENDS[code]}, but {'nothing' if written is None else 'a file'} was written"
    return ENDS[code] if code == 0 or said.strip() else f"{ENDS[code]} without a word"


def media(folder: Path) -> list[Path]:
    """Every file of a corpus but the notes on where it came from."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SOURCE.txt")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--limit", type=float, default=20.0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    warm_up()
    for result in run_all(media(options.folder), seconds=options.seconds, limit=options.limit, jobs=options.jobs):
        print(json.dumps(result), flush=True)


def warm_up() -> None:
    """Import what every child needs; nothing is run, since threads do not survive a fork."""
    for module in ("build", "cli.main", "segmenters.regions", "sinks.video", "sources.images", "sources.video"):
        importlib.import_module(f"rtseg.{module}")


if __name__ == "__main__":
    main()
