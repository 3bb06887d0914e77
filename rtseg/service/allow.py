"""What clients may name as a source, an output, a background or a model of a stream: what the operator listed.

An address is taken apart by one strict pattern and held to schemes and hosts that were listed, a file's name is
looked up in folders that were listed, after links were followed. All else is refused, in the same words whether it
exists or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rtseg.config import RecordSink, SinkOptions, VideoSink
from rtseg.effects.background import BackgroundFile, parse_background
from rtseg.errors import ConfigError
from rtseg.service.refusals import Refusal

_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]"
_ITEM = re.compile(rf"(?P<scheme>[a-z][a-z0-9]{{1,9}})://(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?/?")
# No space, quote, bar, backslash or control character: parsers differ about them, and FFmpeg has options behind some.
_ADDRESS = re.compile(
    rf"(?P<scheme>[a-z][a-z0-9]{{1,9}})://(?:[A-Za-z0-9._~%!$&*+,;=:-]+@)?(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?"
    r"(?:/[A-Za-z0-9._~%!$&*+,;=:@/-]*)?(?:\?[A-Za-z0-9._~%!$&*+,;=:@/?-]*)?"
)
_KINDS = {
    "camera": re.compile(r"camera(:[0-9]{1,2})?"),
    "screen": re.compile(r"screen"),
    "sample": re.compile(r"sample"),
    "synthetic": re.compile(r"synthetic:[\x21-\x7e]{1,200}"),
    "mjpeg": re.compile(r"mjpeg:[0-9]{1,5}"),
    "window": re.compile(r"window"),
}
"""Words of an operator's list, and what clients may then say."""
_NAME = re.compile(r"[^\x00-\x1f\x7f\\:*?\"<>|]{1,200}")
_VIDEOS, _RECORDS = frozenset({".mp4", ".mkv", ".mov", ".webm"}), frozenset({".jsonl"})


@dataclass(frozen=True, slots=True)
class Host:
    """Addresses of one scheme and host; of all ports where none was given."""

    scheme: str
    name: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """Files below a folder."""

    path: Path


@dataclass(frozen=True, slots=True)
class Word:
    """One of the kinds without a place: camera, screen, sample, synthetic, mjpeg, window."""

    kind: str


Place = Host | Folder | Word


def parse_place(text: str) -> Place:
    """An item of `--allow-sources` or `--allow-sinks`; ConfigError for what is none of the three."""
    if text in _KINDS:
        return Word(text)
    if "://" in text:
        if not (found := _ITEM.fullmatch(text)):
            raise ConfigError(f"{text!r} allows nothing: give SCHEME://HOST or SCHEME://HOST:PORT, without a path")
        return Host(found["scheme"], _host(found["host"]), int(found["port"]) if found["port"] else None)
    path = Path(text)
    if not path.is_dir():
        raise ConfigError(f"{text!r} is no folder: give one, SCHEME://HOST, or one of {', '.join(_KINDS)}")
    return Folder(path.resolve())


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What the operator lets clients do with streams; without anything they see streams and change their scenes.

    add: whether they add and remove streams, and change more than the scene. sources, sinks: what they may name then.
    backgrounds: pictures and videos by the name that clients use. models: names that streams may be changed to.
    """

    add: bool = False
    sources: tuple[Place, ...] = ()
    sinks: tuple[Place, ...] = ()
    backgrounds: Mapping[str, Path] = field(default_factory=dict)
    models: frozenset[str] = frozenset()

    def adding(self) -> None:
        """Refusal 403 where clients may only change scenes."""
        if not self.add:
            raise Refusal(403, "streams are fixed here, only their scenes change: the operator has not allowed adding")

    def source(self, text: str) -> str:
        """The source as `StreamOptions` takes it; Refusal 403 for what is not listed."""
        if _is_listed(text, self.sources):
            return text
        for path in _inside(text, self.sources):
            if path.is_file():
                return str(path)
        raise _not_listed("source")

    def sink(self, text: str) -> str | SinkOptions:
        """The output as `StreamOptions` takes it; Refusal 403 for what is not listed, 409 for a file that is there."""
        if _is_listed(text, self.sinks):
            return text
        suffix = Path(text).suffix.lower()
        for path in _inside(text, self.sinks):
            if suffix in _VIDEOS | _RECORDS and path.parent.is_dir() and not path.name.startswith("."):
                if path.exists() or path.is_symlink():
                    raise Refusal(409, f"a file {path.name!r} is there already: give another name")
                if suffix in _VIDEOS:
                    return VideoSink(type="video", path=path)
                return RecordSink(type="records", path=path)
        raise _not_listed("output")

    def background(self, text: str | None) -> str | None:
        """The background as a scene takes it: blur and colours as they are, files by the names that were listed."""
        if text is None or not isinstance(parse_background(text), BackgroundFile):
            return text
        if (path := self.backgrounds.get(text)) is not None:
            return str(path)
        known = ", ".join(sorted(self.backgrounds)) or "none"
        raise Refusal(403, f"a background is blur, blur:N, a colour, or one of the files listed here: {known[:200]}")

    def model(self, name: str) -> str:
        """The model's name; Refusal 403 for others than were listed: requests load nothing that nobody chose."""
        if name not in self.models:
            raise Refusal(403, f"that model is not offered here: use one of {', '.join(sorted(self.models))[:200]}")
        return name

    def shown(self, background: str | None) -> str | None:
        """A scene's background without the folder it is in."""
        if background is None or not isinstance(parse_background(background), BackgroundFile):
            return background
        return Path(background).name


def list_backgrounds(paths: Iterable[str]) -> dict[str, Path]:
    """Files by name, those in folders too; ConfigError for what is not there, and for two of one name."""
    found: dict[str, Path] = {}
    for text in paths:
        path = Path(text)
        files = sorted(child for child in path.iterdir() if child.is_file()) if path.is_dir() else [path]
        for file in files:
            if not file.is_file():
                raise ConfigError(f"the background {text!r} does not exist: give a picture, a video, or a folder")
            if file.name in found:
                raise ConfigError(f"two backgrounds are called {file.name!r}: rename one of them")
            found[file.name] = file.resolve()
    return found


def _is_listed(text: str, places: Iterable[Place]) -> bool:
    address = _ADDRESS.fullmatch(text)
    for place in places:
        match place:
            case Word(kind):
                if _KINDS[kind].fullmatch(text):
                    return True
            case Host(scheme, name, port):
                if address and (address["scheme"], _host(address["host"])) == (scheme, name):
                    given = int(address["port"]) if address["port"] else None
                    if port is None or port == given:
                        return True
            case Folder():
                continue
    return False


def _inside(text: str, places: Iterable[Place]) -> Iterable[Path]:
    """Where a relative name leads in the folders that were listed, links followed; not where it leads out of them."""
    if not _NAME.fullmatch(text) or text.endswith("/") or Path(text).is_absolute() or ".." in Path(text).parts:
        return
    for place in places:
        if isinstance(place, Folder):
            try:
                path = (place.path / text).resolve()
            except (OSError, RuntimeError):
                continue
            if path != place.path and path.is_relative_to(place.path):
                yield path


def _host(name: str) -> str:
    return name.rstrip(".").lower()


def _not_listed(what: str) -> Refusal:
    return Refusal(403, f"that {what} is not among those that the operator of this service allows")
