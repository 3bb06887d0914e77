"""What `rtseg models build` does: TensorRT's engines built with a spinner, listed and removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtseg.cli.console import print_json, stderr, stdout
from rtseg.errors import ConfigError

if TYPE_CHECKING:
    from rtseg.inference.prebuilt import Built
    from rtseg.types import Size

_MEGABYTE = 1e6


def build_engines(
    name: str, *, providers: tuple[str, ...], half: bool, size: str | None, device: int, json: bool
) -> None:
    """Build the network's engine and, for a size of frames, that of their whole graph."""
    from rtseg.build import fused_file
    from rtseg.inference.prebuilt import prebuild
    from rtseg.store import find_card, verify

    if "tensorrt" not in providers:
        raise ConfigError(f"only tensorrt builds engines beforehand, not {', '.join(providers)}: leave --providers out")
    frames = None if size is None else _size_of(size)
    card = find_card(name)
    graphs: list[tuple[Path, str, dict[str, tuple[int, ...]] | None]] = [
        (verify(card), card.name, {card.input.name: card.input.shape})
    ]
    if frames is not None:
        graphs.append((fused_file(card, frames), f"{card.name} {frames.width}x{frames.height}", None))
    made = []
    for path, label, shapes in graphs:
        with _spinner(label) as progress:
            built, new = prebuild(
                path,
                name=label,
                providers=providers,
                shapes=shapes,
                half=half,
                device=device,
                progress=progress,
            )
        made.append({**summary(built), "new": new})
        if not json:
            did = f"built in {built.about['seconds']} s" if new else "was there"
            stdout().print(f"{label}: {did}, {built.size / _MEGABYTE:.1f} MB in {built.folder}", markup=False)
    if json:
        print_json(made)


def clean_engines(*, device: int, json: bool) -> None:
    """Remove what cannot be used any more, and say what that was."""
    from rtseg.inference.prebuilt import clean

    removed = [summary(built) for built in clean(device)]
    if json:
        print_json(removed)
        return
    for one in removed:
        why = ", ".join(str(one.get(key, "?")) for key in ("gpu", "driver", "tensorrt"))
        stdout().print(f"removed {one['name']} ({why})", markup=False, soft_wrap=True)
    if not removed:
        stdout().print("nothing to remove")


def summary(built: Built) -> dict[str, Any]:
    """A folder of the cache as plain values; what was removed has no bytes left."""
    return {"name": "?", **built.about, "folder": str(built.folder), "bytes": built.size}


@contextmanager
def _spinner(label: str) -> Iterator[Callable[[float, int], None]]:
    """Elapsed time and the growing cache; one line where there is no terminal to draw on."""
    console = stderr()
    if not console.is_terminal:
        said: list[str] = []

        def say_once(seconds: float, size: int) -> None:  # noqa: ARG001 - as the other
            if not said:
                said.append(f"{label}: TensorRT builds, which can take minutes")
                console.print(said[0], markup=False)

        yield say_once
        return
    with console.status(label) as status:

        def update(seconds: float, size: int) -> None:
            minutes, rest = divmod(int(seconds), 60)
            status.update(f"{label}: TensorRT builds, {minutes}:{rest:02d}, {size / _MEGABYTE:.1f} MB so far")

        yield update


def _size_of(text: str) -> Size:
    from rtseg.types import Size

    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = Size(*map(int, match.groups())) if match else Size(0, 0)
    if not size.width or not size.height or size.width % 2 or size.height % 2:
        raise ConfigError(f"--size {text!r} must be even sides joined by an x, such as 1280x720")
    return size
