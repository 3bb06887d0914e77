from __future__ import annotations

import base64
import hashlib
import http.server
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rtseg import download, store
from rtseg.cards import Card, CardInput, CardOutput
from rtseg.download import pull
from rtseg.errors import DownloadFailed, ModelCorrupt

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes: eight chunks, the last one not full
FAST: dict[str, Any] = {"pause": 0.0, "timeout": 10.0}


def card(**changes: object) -> Card:
    facts = {
        "name": "night",
        "description": "For tests",
        "family": "regions",
        "file": "night.onnx",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "licence": "Apache-2.0",
        "source": "Made up",
        "input": CardInput(name="x", size=(8, 4)),
        "outputs": (CardOutput(name="y", regions={"person": 0}),),
        "names": ("person",),
    }
    return Card.model_validate(facts | changes)


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT under every path; `plan` says what happens to the first requests, `seen` what was asked for."""

    daemon_threads = True

    def __init__(self, *plan: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan = list(plan)
        self.seen: list[tuple[str, str | None]] = []
        self.authorised: list[str | None] = []
        self.content = CONTENT
        self.contents: dict[str, bytes] = {}
        self.tunnel_to = 0
        self.released = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what some tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        server = self.server
        server.seen.append((self.path, self.headers.get("Range")))
        server.authorised.append(self.headers.get("Authorization"))
        action, _, value = (server.plan.pop(0) if server.plan else "whole").partition(" ")
        match action:
            case "whole":
                self.give(self.headers.get("Range"))
            case "ignore-range":
                self.give(None)
            case "shift-range":
                self.give("bytes=1-")
            case "cut":
                self.give(self.headers.get("Range"), cut=int(value))
            case "no-length":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(server.content)
            case "silence":
                server.released.wait(30)
            case "redirect":
                self.send_response(302)
                self.send_header("Location", value)
                self.end_headers()
            case status:
                self.send_error(int(status))

    def give(self, wanted: str | None, *, cut: int | None = None) -> None:
        content, start = self.server.contents.get(self.path.partition("?")[0], self.server.content), 0
        if wanted:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:] if cut is None else content[start : start + cut])

    def do_CONNECT(self) -> None:
        """A proxy's tunnel, whatever host was named, to the port `tunnel_to` of this machine."""
        self.server.seen.append((f"CONNECT {self.path}", None))
        with socket.create_connection(("127.0.0.1", self.server.tunnel_to)) as far:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: far, far: self.connection}
            while True:
                for end in select.select(list(ends), [], [], 30)[0]:
                    block = end.recv(65536)
                    if not block:
                        return
                    ends[end].sendall(block)


@contextmanager
def serving(*plan: str, certificate: Path | None = None) -> Iterator[Server]:
    server = Server(*plan)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("RTSEG_MIRROR", raising=False)
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], None]:
    return lambda server: monkeypatch.setenv("RTSEG_MIRROR", server.address)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of models.example, trusted by nobody."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command here to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    kind = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=models.example"
    name = ["-addext", "subjectAltName=DNS:models.example"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([openssl, *kind.split(), *name, *files], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "certificate.pem").read_text())
    return both


def test_a_file_arrives_whole_and_every_byte_is_reported(cache: Path, mirror: Callable[[Server], None]) -> None:
    reports: list[tuple[int, int | None]] = []
    with serving() as server:
        mirror(server)
        path = pull(card(), progress=lambda done, total: reports.append((done, total)), **FAST)
        assert path == cache / "night.onnx"
        assert path.read_bytes() == CONTENT
        assert server.seen == [("/night.onnx", None)]
        assert pull(card(), **FAST) == path
        assert len(server.seen) == 1, "what is there already must not be fetched again"
    assert reports[0] == (0, len(CONTENT))
    assert reports[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in reports] == sorted({done for done, _ in reports})
    assert not list(cache.glob("*.part"))


def test_a_cut_transfer_is_resumed_where_it_stopped(mirror: Callable[[Server], None]) -> None:
    with serving("cut 100000", "cut 200000") as server:
        mirror(server)
        assert pull(card(), **FAST).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.seen] == [None, "bytes=100000-", "bytes=300000-"]


def test_a_later_call_resumes_what_an_earlier_one_left(cache: Path, mirror: Callable[[Server], None]) -> None:
    with serving("cut 100000") as server:
        mirror(server)
        with pytest.raises(DownloadFailed, match=r"cut after 100000 of 512000 bytes; .*night\.onnx\.part keeps what"):
            pull(card(), attempts=1, **FAST)
        assert (cache / "night.onnx.part").stat().st_size == 100_000
        assert pull(card(), attempts=1, **FAST).read_bytes() == CONTENT
    assert server.seen[1] == ("/night.onnx", "bytes=100000-")


@pytest.mark.parametrize("plan", ["ignore-range", "no-length"])
def test_a_server_without_ranges_gives_all_again(plan: str, mirror: Callable[[Server], None]) -> None:
    with serving("cut 100000", plan) as server:
        mirror(server)
        assert pull(card(), **FAST).read_bytes() == CONTENT


def test_another_range_than_asked_for_is_thrown_away(mirror: Callable[[Server], None]) -> None:
    with serving("cut 100000", "shift-range") as server:
        mirror(server)
        assert pull(card(), **FAST).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.seen] == [None, "bytes=100000-", None]


def test_a_part_that_is_already_whole_is_kept(cache: Path, mirror: Callable[[Server], None]) -> None:
    cache.mkdir()
    (cache / "night.onnx.part").write_bytes(CONTENT)
    with serving() as server:
        mirror(server)
        assert pull(card(), **FAST).read_bytes() == CONTENT
    assert server.seen == [("/night.onnx", "bytes=512000-")]


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * 512_000, b"x" * 600_000], ids=["shorter", "as long", "longer"])
def test_a_part_of_another_file_is_replaced(part: bytes, cache: Path, mirror: Callable[[Server], None]) -> None:
    cache.mkdir()
    (cache / "night.onnx.part").write_bytes(part)
    with serving() as server:
        mirror(server)
        assert pull(card(), **FAST).read_bytes() == CONTENT
    assert server.seen[1:] == [("/night.onnx", None)]


def test_errors_that_may_pass_are_tried_again(mirror: Callable[[Server], None]) -> None:
    with serving("500", "503", "429") as server:
        mirror(server)
        assert pull(card(), **FAST).read_bytes() == CONTENT
    assert len(server.seen) == 4


def test_after_so_many_attempts_the_last_reason_is_given(mirror: Callable[[Server], None]) -> None:
    with serving("500", "500", "502") as server:
        mirror(server)
        with pytest.raises(DownloadFailed, match=r"'night' could not be fetched in 3 attempts: .* answered 502"):
            pull(card(), attempts=3, **FAST)
    assert len(server.seen) == 3


def test_the_pause_doubles(mirror: Callable[[Server], None], monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with serving("500", "500", "500") as server:
        mirror(server)
        pull(card(), pause=0.5, timeout=10)
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (404, "the file is gone from there; set RTSEG_MIRROR"),
        (403, "access is denied"),
        (407, "give the proxy's user and password"),
    ],
)
def test_errors_that_stay_are_not_tried_again(status: int, advice: str, mirror: Callable[[Server], None]) -> None:
    with serving(*[str(status)] * 5) as server:
        mirror(server)
        with pytest.raises(DownloadFailed, match=rf"night\.onnx answered {status} .*: {advice}"):
            pull(card(), **FAST)
    assert len(server.seen) == (2 if status == 404 else 1)  # a mirror has two places for a file


def test_a_mirror_may_have_a_folder_for_each_model(mirror: Callable[[Server], None]) -> None:
    with serving("404") as server:
        mirror(server)
        assert pull(card(), **FAST).read_bytes() == CONTENT
    assert [path for path, _ in server.seen] == ["/night.onnx", "/night/night.onnx"]


@pytest.mark.parametrize("plan", ["whole", "no-length"])
def test_another_file_is_deleted(plan: str, cache: Path, mirror: Callable[[Server], None]) -> None:
    with serving(plan) as server:
        server.content = CONTENT[:-1] + b"!"
        mirror(server)
        with pytest.raises(ModelCorrupt, match=r"gave for 'night' was deleted: its SHA-256 is [0-9a-f]{64}, the card"):
            pull(card(), **FAST)
    assert [path.name for path in cache.iterdir()] == ["night.onnx.lock"]
    assert len(server.seen) == 1


def test_damaged_weights_in_the_cache_are_fetched_anew(cache: Path, mirror: Callable[[Server], None]) -> None:
    cache.mkdir()
    (cache / "night.onnx").write_bytes(CONTENT[:-1])
    with serving() as server:
        mirror(server)
        assert pull(card(), **FAST).read_bytes() == CONTENT


def test_a_server_that_never_ends_is_left(
    cache: Path, mirror: Callable[[Server], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LARGEST", 200_000)
    with serving() as server:
        mirror(server)
        with pytest.raises(DownloadFailed, match="more than 200000 bytes arrived, which no ONNX file has"):
            pull(card(), **FAST)
    assert (cache / "night.onnx.part").stat().st_size == 0


def test_a_silent_server_is_left(mirror: Callable[[Server], None]) -> None:
    with serving("silence") as server:
        mirror(server)
        assert pull(card(), pause=0.0, timeout=0.2).read_bytes() == CONTENT
    assert len(server.seen) == 2


def test_without_a_server_the_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("RTSEG_MIRROR", f"http://me:secret@127.0.0.1:{port}")
    with pytest.raises(DownloadFailed) as failure:
        pull(card(), attempts=2, **FAST)
    said = str(failure.value)
    assert f"http://127.0.0.1:{port}/night.onnx cannot be reached; without a network set RTSEG_MIRROR" in said
    assert "secret" not in said


def test_user_and_password_of_a_mirror_go_to_it_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as other, serving("cut 1000", f"redirect {other.address}/moved.onnx") as server:
        monkeypatch.setenv("RTSEG_MIRROR", f"http://me:p%40ss@127.0.0.1:{server.server_port}/all")
        assert pull(card(), **FAST).read_bytes() == CONTENT
    expected = "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert server.authorised == [expected, expected]
    assert other.authorised == [None]
    assert other.seen == [("/moved.onnx", "bytes=1000-")]


def test_a_model_without_an_address_says_what_to_do(cache: Path) -> None:
    with pytest.raises(DownloadFailed, match=rf"'night' has no public address: put night\.onnx into {cache}, or set"):
        pull(card(), **FAST)


@pytest.mark.parametrize("place", ["night.onnx", "night/night.onnx"])
def test_a_mirror_may_be_a_folder(place: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSEG_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(DownloadFailed, match=r"holds neither night\.onnx nor night/night\.onnx"):
        pull(card(), **FAST)
    (tmp_path / "mirror" / place).parent.mkdir(parents=True)
    (tmp_path / "mirror" / place).write_bytes(b"another file")
    with pytest.raises(ModelCorrupt):
        pull(card(), **FAST)
    (tmp_path / "mirror" / place).write_bytes(CONTENT)
    reports: list[tuple[int, int | None]] = []
    assert pull(card(), progress=lambda *report: reports.append(report), **FAST).read_bytes() == CONTENT
    assert reports == [(len(CONTENT), len(CONTENT))]


def test_the_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.address)
        monkeypatch.setenv("RTSEG_MIRROR", "http://models.example/all/")
        assert pull(card(), **FAST).read_bytes() == CONTENT
    assert proxy.seen == [("http://models.example/all/night.onnx", None)]


def test_a_card_s_address_is_reached_by_tls_through_a_proxy(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = card(url="https://models.example/releases/1/model.onnx?raw=1")
    with serving(certificate=certificate) as server, serving() as proxy:
        proxy.tunnel_to = server.server_port
        monkeypatch.setenv("https_proxy", proxy.address)
        with pytest.raises(
            DownloadFailed, match=r"certificate of https://models\.example/releases/1/model\.onnx is not"
        ):
            pull(address, **FAST)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert pull(address, **FAST).read_bytes() == CONTENT
    assert server.seen == [("/releases/1/model.onnx?raw=1", None)]
    assert proxy.seen == [("CONNECT models.example:443", None)] * 2


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{port}")
    with pytest.raises(DownloadFailed, match=rf"cannot be reached through the proxy http://127\.0\.0\.1:{port}: "):
        pull(card(url="https://models.example/night.onnx"), attempts=1, **FAST)


def test_https_is_never_left_for_http(certificate: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        serving() as plain,
        serving(f"redirect {plain.address}/x", certificate=certificate) as server,
        serving() as proxy,
    ):
        proxy.tunnel_to = server.server_port
        monkeypatch.setenv("https_proxy", proxy.address)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with pytest.raises(DownloadFailed, match=r"redirects to http://127.*: only https is followed"):
            pull(card(url="https://models.example/night.onnx"), **FAST)
        assert plain.seen == []
    assert not (cache / "night.onnx").exists()


def test_redirects_by_https_and_of_an_http_mirror_are_followed(
    certificate: Path, mirror: Callable[[Server], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    moved = "redirect https://models.example/moved.onnx"
    with serving(moved, certificate=certificate) as server, serving() as proxy:
        proxy.tunnel_to = server.server_port
        monkeypatch.setenv("https_proxy", proxy.address)
        path = pull(card(url="https://models.example/night.onnx"), **FAST)
        assert path.read_bytes() == CONTENT
        assert [path for path, _ in server.seen] == ["/night.onnx", "/moved.onnx"]
    path.unlink()
    with serving() as other, serving(f"redirect {other.address}/moved.onnx") as plain:
        mirror(plain)
        assert pull(card(), **FAST).read_bytes() == CONTENT


def test_pulls_at_once_fetch_once(mirror: Callable[[Server], None]) -> None:
    paths: list[Path] = []
    with serving() as server:
        mirror(server)
        threads = [threading.Thread(target=lambda: paths.append(pull(card(), **FAST))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.seen) == 1
    assert len(paths) == 6
    assert all(path.read_bytes() == CONTENT for path in paths)


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, mirror: Callable[[Server], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "file" / "cache"))
    with serving() as server:
        mirror(server)
        with pytest.raises(DownloadFailed, match=r"night\.onnx cannot be written: Not a directory; choose another"):
            pull(card(), **FAST)
        assert server.seen == []


PARTS = {"text.onnx": b"reads" * 900, "tokenizer.json": b"{}", "night.onnx_data": b"weights" * 5000}


def in_parts(**changes: object) -> Card:
    """A model that takes prompts, with a graph for texts, a tokenizer, and weights beside its graph."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in PARTS.items()}
    tokenizer = {"tokenizer.json": hashes["tokenizer.json"]}
    text = {"file": "text.onnx", "sha256": hashes["text.onnx"], "tokenizer": tokenizer, "width": 8}
    beside = {"night.onnx_data": hashes["night.onnx_data"]}
    outputs = (CardOutput(name="y"),)
    return card(**{"family": "prompted", "outputs": outputs, "text": text, "external": beside, **changes})


def test_every_file_of_a_model_is_fetched_into_a_folder_of_its_own(
    cache: Path, mirror: Callable[[Server], None]
) -> None:
    model = in_parts()
    with serving() as server:
        server.contents = {f"/{name}": content for name, content in PARTS.items()}
        mirror(server)
        assert pull(model, **FAST) == cache / "night" / "night.onnx"
        assert sorted(path for path, _ in server.seen) == sorted(f"/{name}" for name in ("night.onnx", *PARTS))
        (cache / "night" / "tokenizer.json").write_bytes(b"[]")
        pull(model, **FAST)
        assert [path for path, _ in server.seen[4:]] == ["/tokenizer.json"], "the others are there already"
    for name, content in {"night.onnx": CONTENT, **PARTS}.items():
        assert (cache / "night" / name).read_bytes() == content
    assert {store.part(model, name) for name in model.files} == {cache / "night" / name for name in model.files}
    assert not (cache / "tokenizer.json").exists(), "another model's has the same name"


@pytest.mark.parametrize("damaged", sorted(PARTS))
def test_each_file_of_a_model_is_held_to_its_hash(damaged: str, cache: Path, mirror: Callable[[Server], None]) -> None:
    with serving() as server:
        server.contents = {f"/{name}": content for name, content in PARTS.items()} | {f"/{damaged}": b"another"}
        mirror(server)
        with pytest.raises(ModelCorrupt, match=rf"/{damaged} gave for 'night' was deleted: its SHA-256 is"):
            pull(in_parts(), **FAST)
    assert not (cache / "night" / damaged).exists()
    assert not (cache / "night" / f"{damaged}.part").exists()


def test_files_lie_beside_the_weights_unless_the_card_says_where() -> None:
    url = "https://models.example/a/onnx/model.onnx?raw=1"
    model = in_parts(url=url, urls={"tokenizer.json": "https://models.example/a/tokenizer.json"})
    assert model.address_of("night.onnx") == url
    assert model.address_of("text.onnx") == "https://models.example/a/onnx/text.onnx?raw=1"
    assert model.address_of("tokenizer.json") == "https://models.example/a/tokenizer.json"
    assert in_parts().address_of("text.onnx") is None
    with pytest.raises(ValueError, match=r"urls names \['other'\], which are no files of the model"):
        in_parts(urls={"other": url})


@pytest.mark.parametrize("name", ["../night.onnx_data", "/etc/x", "a/b", "a\\b", "..", ".x", "", "c:x", "a\nb"])
def test_weights_beside_a_graph_cannot_be_written_elsewhere(name: str) -> None:
    with pytest.raises(ValueError, match="external"):
        card(external={name: "0" * 64})
