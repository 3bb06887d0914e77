from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("corpus.py")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_odd_broken_or_hostile_file_crashes_hangs_or_shows_a_traceback(shared: Path) -> None:
    """The first second of each file; `python tests/corpus.py FOLDER` runs them to their ends."""
    command = [sys.executable, str(SCRIPT), str(shared / "corpus"), "--seconds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    bad = [result for result in results if result["end"] not in ("done", "partial", "refused")]
    assert not bad
    ends = Counter(result["end"] for result in results)
    assert len(results) > 250, f"{len(results)} files: is the corpus whole?"
    assert ends["done"] > 80, f"too many good files were refused: {ends}"
    assert ends["refused"] > 40, f"broken files were not refused: {ends}"
