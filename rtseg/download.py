"""Fetching weights into the cache folder: resumable, checked against the card's hash, through proxies and mirrors."""

from __future__ import annotations

import base64
import http.client
import logging
import os
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias
from urllib.parse import quote, unquote, urlsplit

from rtseg.cards import Card
from rtseg.errors import DownloadFailed, ModelCorrupt
from rtseg.store import clean_path, pulled_to, sha256_of

__all__ = ["Progress", "pull"]

log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes that there will be, None where the server does not say."""

CHUNK = 1 << 16
LARGEST = 2 << 30
"""Bytes: what a protobuf file, and so an ONNX file, can have."""
LARGEST_BESIDE = 64 << 30
"""Bytes of weights that a graph keeps outside itself, which is done where they are more."""

_PERMANENT = {400, 401, 403, 404, 405, 407, 410, 451}


class _Interrupted(Exception):
    """A failure that another try may mend; what arrived stays in the `.part` file."""


@dataclass(frozen=True, slots=True)
class _File:
    """One file of a model: what it must be, where it may be had, and how many bytes of it are taken at most."""

    model: str
    name: str
    sha256: str
    url: str | None
    most: int


def pull(
    card: Card, *, progress: Progress | None = None, attempts: int = 5, pause: float = 0.5, timeout: float = 30.0
) -> Path:
    """The card's weights in the cache folder, with every other file that the card names, fetched unless there already.

    They come from `RTSEG_MIRROR` if that is set (an address, with USER:PASSWORD@ where needed, or a folder, that
    holds FILE or NAME/FILE), else from the card's `url` and `urls` (`Card.address_of`); proxies are taken from the
    environment. What arrived of an interrupted transfer is resumed, also by a later call. After a failure that may
    pass, the next of `attempts` waits `pause` seconds, doubled each time; `timeout` is how long a silent connection is
    believed in. Several pulls at once wait for each other. progress: for each file in turn.

    Raises `DownloadFailed`, or `ModelCorrupt` if what was fetched has another hash; it is then deleted.
    """
    report = progress or (lambda _done, _total: None)
    files = [(*each, LARGEST) for each in card.files.items()]
    files += [(*each, LARGEST_BESIDE) for each in card.external.items()]
    found = [
        _pulled(
            _File(card.name, name, sha256, card.address_of(name), most),
            pulled_to(card)[0] / name,
            report,
            attempts=attempts,
            pause=pause,
            timeout=timeout,
        )
        for name, sha256, most in files
    ]
    return found[0]


def _pulled(wanted: _File, target: Path, report: Progress, *, attempts: int, pause: float, timeout: float) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name(f"{target.name}.lock")):
            if target.is_file() and sha256_of(target) == wanted.sha256:
                report(target.stat().st_size, target.stat().st_size)
                return target
            part = target.with_name(f"{target.name}.part")
            _fetch(wanted, part, report, attempts=attempts, pause=pause, timeout=timeout)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(target)
    except DownloadFailed:
        raise
    except OSError as error:
        raise DownloadFailed(
            f"{target} cannot be written: {error.strerror or error}; choose another folder with RTSEG_CACHE"
        ) from error
    return target


def _fetch(wanted: _File, part: Path, report: Progress, *, attempts: int, pause: float, timeout: float) -> None:
    mirror = os.environ.get("RTSEG_MIRROR", "")
    if mirror and urlsplit(mirror).scheme not in ("http", "https"):
        _copy(wanted, clean_path(mirror), part, report)
        _check(wanted, part, mirror, resumed=False)
        return
    addresses = _addresses(wanted, part.parent, mirror)
    insecure = mirror.startswith("http:")
    for attempt in range(attempts):
        resumed = part.is_file()
        try:
            _transfer(addresses, part, report, insecure=insecure, timeout=timeout, most=wanted.most)
            _check(wanted, part, addresses[0], resumed=resumed)
        except _Interrupted as error:
            if attempt == attempts - 1:
                raise DownloadFailed(
                    f"{wanted.model!r} could not be fetched in {attempts} attempts: {error}; "
                    f"{part} keeps what arrived, pull again to resume"
                ) from error.__cause__
            log.info("attempt %d of %d: %s", attempt + 1, attempts, error)
            time.sleep(pause * 2**attempt)
        else:
            return


def _addresses(wanted: _File, folder: Path, mirror: str) -> list[str]:
    if mirror:
        base = mirror.rstrip("/")
        return [f"{base}/{quote(wanted.name)}", f"{base}/{quote(wanted.model)}/{quote(wanted.name)}"]
    if wanted.url is None:
        raise DownloadFailed(
            f"{wanted.model!r} has no public address: put {wanted.name} into {folder}, "
            "or set RTSEG_MIRROR to a folder or address that has it"
        )
    return [wanted.url]


def _copy(wanted: _File, folder: Path, part: Path, report: Progress) -> None:
    places = [folder / wanted.name, folder / wanted.model / wanted.name]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DownloadFailed(f"the mirror folder {folder} holds neither {wanted.name} nor {wanted.model}/{wanted.name}")
    shutil.copyfile(found, part)
    report(part.stat().st_size, part.stat().st_size)


def _check(wanted: _File, part: Path, origin: str, *, resumed: bool) -> None:
    if (found := sha256_of(part)) != wanted.sha256:
        part.unlink()
        if resumed:
            raise _Interrupted("what was resumed belonged to another file")
        raise ModelCorrupt(
            f"what {_shown(origin)} gave for {wanted.model!r} was deleted: "
            f"its SHA-256 is {found}, the card says {wanted.sha256}"
        )


def _transfer(addresses: list[str], part: Path, report: Progress, *, insecure: bool, timeout: float, most: int) -> None:
    """Bring `part` to full length from the first address that has the file."""
    opener = urllib.request.build_opener(_SafeRedirects(insecure=insecure))
    for address in addresses:
        have = part.stat().st_size if part.is_file() else 0
        try:
            with opener.open(_request(address, have), timeout=timeout) as response:
                _receive(response, part, have if response.status == 206 else 0, report, most)
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404 and address != addresses[-1]:
                continue
            if error.code == 416:  # the part is as long as the file, or longer: only its hash can tell
                if error.headers.get("Content-Range") == f"bytes */{have}":
                    return
                part.unlink()
                raise _Interrupted("the server has less than the part that was resumed") from error
            said = f"{_shown(address)} answered {error.code} {error.reason}"
            if error.code in _PERMANENT:
                raise DownloadFailed(f"{said}: {_advice(error.code)}") from error
            raise _Interrupted(said) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise DownloadFailed(
                    f"the certificate of {_shown(address)} is not trusted: {error.reason.verify_message}; "
                    "behind an inspecting proxy set SSL_CERT_FILE to its certificate"
                ) from error
            raise _Interrupted(f"{_shown(address)} cannot be reached{_by_proxy(address)}: {error.reason}") from error
        except (ConnectionError, TimeoutError, http.client.HTTPException, ssl.SSLError) as error:
            raise _Interrupted(f"the connection to {_shown(address)} broke: {error!r}") from error


def _request(address: str, have: int) -> urllib.request.Request:
    parts = urlsplit(address)
    login, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host).geturl(), headers={"User-Agent": "rtseg"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    if login:  # for this host only, not for one that it redirects to
        secret = base64.b64encode(unquote(login).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    return request


def _receive(response: http.client.HTTPResponse, part: Path, start: int, report: Progress, most: int) -> None:
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdigit() else None
    if start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        part.unlink()
        raise _Interrupted("the server sent another range than the one asked for")
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        done = start
        report(done, total)
        while block := response.read(CHUNK):
            done += len(block)
            if done > most:
                file.truncate(0)
                raise DownloadFailed(f"more than {most} bytes arrived, which no ONNX file has: stopped")
            file.write(block)
            report(done, total)
    if total is not None and done < total:
        raise _Interrupted(f"the connection was cut after {done} of {total} bytes")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects stay on https, unless the user's own mirror is http already."""

    def __init__(self, *, insecure: bool) -> None:
        self._schemes = ("http", "https") if insecure else ("https",)

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in self._schemes:
            raise DownloadFailed(f"{_shown(req.full_url)} redirects to {_shown(newurl)}: only https is followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _advice(code: int) -> str:
    match code:
        case 407:
            return "give the proxy's user and password in https_proxy=http://USER:PASSWORD@HOST:PORT"
        case 401 | 403:
            return "access is denied; set RTSEG_MIRROR to a mirror that you may read"
        case _:
            return "the file is gone from there; set RTSEG_MIRROR to a folder or an address that has it"


def _by_proxy(address: str) -> str:
    proxy = urllib.request.getproxies().get(urlsplit(address).scheme)
    return f" through the proxy {_shown(proxy)}" if proxy else "; without a network set RTSEG_MIRROR to a folder"


def _shown(address: str) -> str:
    """An address without user, password and query, fit for messages."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else address


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that other processes and threads wait for; Windows does without, the hash decides there."""
    with path.open("a") as file:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed, also by a crash
        yield
