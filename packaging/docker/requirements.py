"""The libraries of rtseg with some of its extras, one a line: `requirements.py serve,cuda`, beside pyproject.toml."""

import sys
import tomllib
from pathlib import Path


def requirements(project: dict[str, object], extras: str) -> list[str]:
    """What `pip install 'rtseg[extras]'` would install beside rtseg; extras joined by commas, maybe none."""
    base, optional = project["dependencies"], project["optional-dependencies"]
    assert isinstance(base, list)
    assert isinstance(optional, dict)
    wanted = [extra for extra in extras.split(",") if extra]
    if unknown := [extra for extra in wanted if extra not in optional]:
        raise SystemExit(f"rtseg has no extra {unknown[0]!r}: use {', '.join(optional)}")
    return [*base, *(library for extra in wanted for library in optional[extra])]


if __name__ == "__main__":
    data = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    print(*requirements(data["project"], sys.argv[1]), sep="\n")
