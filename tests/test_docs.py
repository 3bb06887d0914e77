"""Runs every block of the README and of docs/*.md: commands, Python and TOML, in order, a folder a page.

A comment before a block says what is special: `<!-- not run: why -->`, `<!-- exits: 5 -->` (the last command's code),
`<!-- file: run.toml -->` (written there).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import pytest

import rtseg
from rtseg.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()]
NOTE = re.compile(r"<!-- (not run|exits|file): (.+?) -->")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = {"console", "python", "toml"}
SHOWN = {"", "text", "json", "jsonl"}


@dataclass
class Block:
    """A fenced block: where it begins, its language, and what the comment before it says."""

    page: Path
    line: int
    language: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    blocks = []
    for match in FENCE.finditer(text):
        before = text[: match.start()].rstrip().rpartition("\n")[2]
        line = text.count("\n", 0, match.start()) + 1
        blocks.append(Block(page, line, match[1], match[2], dict(NOTE.findall(before))))
    return blocks


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pages call in.mp4, call.mp4, street.mp4, photo.jpg and photos/: small, and made here."""
    folder = tmp_path_factory.mktemp("footage")
    config = rtseg.parse_config(
        {
            "source": {"type": "sample", "seconds": 0.7, "size": [160, 90], "rate": 10},
            "sinks": [{"type": "video", "path": str(folder / "in.mp4")}, {"type": "images", "folder": str(folder)}],
        }
    )
    rtseg.run(config=config, background="none")
    for name in ("call.mp4", "street.mp4"):
        shutil.copy(folder / "in.mp4", folder / name)
    (folder / "photos").mkdir()
    first, second, *others = sorted(folder.glob("*.png"))
    for path, name in ((first, "photo.jpg"), (first, "photos/one.jpg"), (second, "photos/two.jpg")):
        picture = cv2.imread(str(path))
        assert picture is not None
        cv2.imwrite(str(folder / name), picture)
    for path in (first, second, *others):
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def pages(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """Every page with a folder of its own that holds the footage."""
    made = {path: Page(tmp_path_factory.mktemp(path.stem), blocks_of(path)) for path in PAGES}
    for page in made.values():
        shutil.copytree(footage, page.folder, dirs_exist_ok=True)
    return made


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_does_what_the_page_says(
    block: Block, pages: dict[Path, Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := block.notes.get("not run"):
        pytest.skip(reason)
    assert block.language in RUN | SHOWN, f"{block}: say what it is: one of {sorted(RUN | SHOWN)}"
    page = pages[block.page]
    monkeypatch.chdir(page.folder)
    page.run_until(block)


@dataclass
class Page:
    """The folder of a page, and how many of its blocks were run in it."""

    folder: Path
    blocks: list[Block]
    done: int = 0

    def run_until(self, block: Block) -> None:
        """Run what comes before in this process (a test of its own tells what fails there), then the block."""
        for earlier in self.blocks[self.done :]:
            self.done += 1
            if earlier.line == block.line:
                break
            if "not run" not in earlier.notes:
                try:
                    run_block(earlier)
                except (AssertionError, rtseg.RtsegError):
                    continue
        run_block(block)


def run_block(block: Block) -> None:
    match block.language:
        case "toml":
            assert tomllib.loads(block.text)
            if name := block.notes.get("file"):
                Path(name).write_text(block.text, encoding="utf-8")
        case "python":
            exec(
                compile("\n" * block.line + block.text, str(block.page), "exec", dont_inherit=True),
                {"__name__": "__main__"},
            )
        case "console":
            commands = commands_of(block.text)
            for command in commands:
                wanted = int(block.notes.get("exits", "0")) if command is commands[-1] else 0
                code = run_command(command)
                assert code == wanted, f"{block}: {command!r} ended with {code}, not {wanted}"


def commands_of(text: str) -> list[str]:
    """A command a line; where some lines begin with "$ ", the others are what the commands print."""
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    if any(line.startswith("$ ") for line in lines):
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def run_command(command: str) -> int:
    """`rtseg` alone in this process, which spares its start; anything else in a shell."""
    words = shlex.split(command, comments=True)
    if words[0] != "rtseg" or set(shlex.shlex(command, punctuation_chars=True)) & {
        "&&",
        "||",
        "|",
        ";",
        ">",
        "<",
        ">>",
    }:
        scripts = Path(sys.executable).parent
        path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(command, shell=True, env={**os.environ, "PATH": path}, check=False).returncode
    try:
        main(words[1:])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def test_the_pages_link_to_what_is_there() -> None:
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_command_and_option_is_documented() -> None:
    import typer.main

    from rtseg.cli.app import app

    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert f"rtseg {name}" in text
        assert "Example: rtseg" in (command.epilog or ""), f"rtseg {name} --help has no example"
        for inner, part in getattr(command, "commands", {}).items():
            assert f"rtseg {name} {inner}" in text
            assert "Example: rtseg" in (part.epilog or "")
    for parameter in group.commands["run"].params:  # type: ignore[attr-defined]
        for option in parameter.opts:
            if option.startswith("-") and option != "--help":
                assert f"`{option}`" in text, f"docs/cli.md does not explain {option}"


def test_the_exit_codes_are_documented() -> None:
    from rtseg import errors

    text = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    documented = [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    kinds = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.RtsegError)
    }
    assert documented == sorted(kinds | {0, errors.EXIT_PARTIAL, 130, 141, 143})
