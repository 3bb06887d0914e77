"""Repositories of the Hugging Face Hub: fetched once, pinned to a commit, and held to the hashes of the first time."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtseg.errors import DependencyMissing, DownloadFailed, ModelCorrupt, ModelNotFound
from rtseg.places import cache_folder, sha256_of

_NAME = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w.-]+))?(/(?P<file>(onnx/)?[\w.-]+\.onnx))?"
)
_ABOUT = ("config.json", "preprocessor_config.json", "README.md", "tokenizer.json", "vocab.json", "merges.txt")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A repository, the revision of it (None: what was pinned, else its main branch), and one of its graphs or None."""

    repo: str
    revision: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A repository's folder on this machine, the graph in it, and "owner/name@commit"."""

    folder: Path
    graph: Path
    origin: str


def parse(name: str) -> Wanted | None:
    """What "owner/name[@revision][/onnx/model_fp16.onnx]" asks for; None for a name of another kind."""
    match = _NAME.fullmatch(name)
    if match is None or (match["repo"].endswith((".onnx", ".toml")) and not match["file"]):
        return None
    return Wanted(match["repo"], match["revision"], match["file"])


def fetch(wanted: Wanted, variants: Sequence[str], *, renew: bool = False) -> Fetched:
    """The repository's settings and one graph, in the hub's own cache (`HF_HOME`), from which they are used offline.

    variants: graphs in order of preference, where `wanted` names none. The first fetch writes down the commit that
    the revision was, and the hash of each file, in rtseg's cache folder; later ones ask the network for nothing, take
    that commit and those bytes. renew: look again what the revision is now.

    Raises DependencyMissing without huggingface_hub, DownloadFailed where the hub gives nothing, ModelNotFound for a
    repository without a graph, ModelCorrupt for a file that has changed.
    """
    note = cache_folder() / "hub" / f"{wanted.repo.replace('/', '--')}.json"
    pins = _read(note)
    revision = wanted.revision or "main"
    pin: dict[str, Any] = {} if renew else pins.get(revision, {})
    commit = pin.get("commit")
    for variant in (wanted.file,) if wanted.file else variants:
        files = [*_ABOUT, variant, f"{variant}_data", f"{variant}.data"]
        folder = _snapshot(wanted.repo, commit or revision, files, local=commit is not None and variant in pin["files"])
        if (folder / variant).is_file():
            break
    else:
        tried = wanted.file or ", ".join(variants)
        raise ModelNotFound(f"{wanted.repo}@{revision} has no graph at {tried}: name its file, or export one")
    commit = folder.name
    hashes = {name: sha256_of(folder / name) for name in files if (folder / name).is_file()}
    for name, found in hashes.items():
        if (known := pin.get("files", {}).get(name, found)) != found:
            raise ModelCorrupt(
                f"{folder / name} is damaged: its SHA-256 is {found}, and was {known} when it was fetched; delete "
                f"{folder} and fetch it again"
            )
    if pin.get("files", {}).items() != {**pin.get("files", {}), **hashes}.items():
        pins[revision] = {"commit": commit, "files": {**pin.get("files", {}), **hashes}}
        _write(note, pins)
    return Fetched(folder, _whole(folder, variant, note.with_suffix("") / commit), f"{wanted.repo}@{commit}")


def _snapshot(repo: str, revision: str, files: list[str], *, local: bool) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError as error:
        raise DependencyMissing(
            f"{repo!r} is neither a file nor a folder here, and for the hub huggingface_hub is missing: "
            "pip install 'rtseg[hub]'"
        ) from error
    try:
        try:
            folder = huggingface_hub.snapshot_download(
                repo, revision=revision, allow_patterns=files, local_files_only=local
            )
        except LocalEntryNotFoundError:
            if not local:
                raise
            folder = huggingface_hub.snapshot_download(repo, revision=revision, allow_patterns=files)
    except Exception as error:  # the hub's own, httpx's, and OSError of the cache
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadFailed(
            f"{repo}@{revision} cannot be had: {reason[:300]}; give a folder, or check the name, HF_ENDPOINT, HF_TOKEN "
            "and HF_HUB_OFFLINE"
        ) from error
    return Path(folder)


def _whole(folder: Path, variant: str, copies: Path) -> Path:
    """The graph; one with weights beside it as a copy, since the cache has links and graphs may not follow any."""
    beside = [folder / f"{variant}{end}" for end in ("_data", ".data")]
    present = [path for path in beside if path.is_file()]
    if not present:
        return folder / variant
    target = copies / variant
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in (*present, folder / variant):
        copy = target.with_name(path.name)
        if not copy.is_file() or sha256_of(copy) != sha256_of(path):
            part = copy.with_name(f"{copy.name}.part")
            shutil.copyfile(path, part)
            part.replace(copy)
    return target


def _read(note: Path) -> dict[str, Any]:
    try:
        value = json.loads(note.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelCorrupt(f"{note}, which says what was fetched, is damaged ({error}): delete it") from error
    return value if isinstance(value, dict) else {}


def _write(note: Path, pins: dict[str, Any]) -> None:
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        part = note.with_name(f"{note.name}.part")
        part.write_text(json.dumps(pins, indent=1), encoding="utf-8")
        part.replace(note)
    except OSError as error:
        raise DownloadFailed(
            f"{note} cannot be written: {error.strerror or error}; choose another folder with RTSEG_CACHE"
        ) from error
