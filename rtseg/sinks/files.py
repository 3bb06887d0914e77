"""Files appear under their name only when they are whole: written as `<name>.part`, synced, then renamed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray

from rtseg.errors import ConfigError, DiskFull, SinkError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class PartFile:
    """The two names of a file that is being written.

    `part` is where to write and `path` where it ends; a device or a pipe has one name for both and is never
    renamed over. Links are followed, so that the file behind a link is replaced and not the link.
    `inputs` are paths that must not be overwritten (ConfigError). A missing folder is a SinkError: creating it
    would hide a misspelt path.
    """

    def __init__(self, path: str | os.PathLike[str], *, inputs: tuple[str | None, ...] = ()) -> None:
        self.path = Path(os.path.realpath(path))
        for source in inputs:
            if source is not None and _same(self.path, source):
                raise ConfigError(f"the output {os.fspath(path)} is the input itself: give another name")
        if self.path.is_dir():
            raise SinkError(f"{self.path} is a folder: give the name of a file in it")
        if not self.path.parent.is_dir():
            raise SinkError(f"the folder {self.path.parent} does not exist: make it first (mkdir -p)")
        self.direct = self.path.exists() and not stat.S_ISREG(self.path.stat().st_mode)
        self.part = self.path if self.direct else self.path.with_name(self.path.name + ".part")

    def publish(self) -> None:
        """Make the part durable and give it its final name; raises SinkError or DiskFull, keeping the part."""
        if self.direct:
            return
        try:
            _sync(self.part)
            self.part.replace(self.path)
            _sync(self.path.parent)
        except OSError as error:
            raise self.failure(error) from error

    def discard(self) -> None:
        """Remove the part, if there is one."""
        if not self.direct:
            self.part.unlink(missing_ok=True)

    def failure(self, error: Exception) -> SinkError:
        """What to raise for an error of writing: DiskFull where no room is left."""
        kept = "" if self.direct or not self.part.exists() else f"; what was written so far is kept in {self.part}"
        return failure(error, self.path, kept)


def failure(error: Exception, path: Path, kept: str = "") -> SinkError:
    """An error of writing `path`, the system's or FFmpeg's, as one of rtseg's; `kept` says what is left of it."""
    code = getattr(error, "errno", None)
    reason = os.strerror(code) if code and 0 < code < 256 else str(error)
    if code in _FULL:
        return DiskFull(f"no room left for {path} ({reason}){kept}: free some space or write elsewhere")
    return SinkError(f"cannot write {path}: {reason}{kept}")


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder, made with its parents where missing; SinkError where that is not possible."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failure(error, path) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise SinkError(f"the folder {path} cannot be written to: change its permissions or give another")
    return path


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a small file under its final name in one step for all who look; not synced one by one."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise failure(error, path) from error


def encode_image(pixels: NDArray[Any], path: Path, parameters: Sequence[int]) -> memoryview:
    """`pixels`, as OpenCV wants them, in the format of the path's ending; SinkError where the format cannot."""
    try:
        done, data = cv2.imencode(path.suffix, pixels, parameters)
    except cv2.error as error:
        raise SinkError(f"cannot encode {path}: {error.err}") from error
    if not done:
        raise SinkError(f"cannot encode {path}: {pixels.shape[1]}x{pixels.shape[0]} is more than the format holds")
    return data.data


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a file system that cannot is left alone."""
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems have no sync for folders
            raise
    finally:
        os.close(descriptor)


def _same(path: Path, source: str) -> bool:
    try:
        return path.samefile(source)
    except (OSError, ValueError):
        return False
