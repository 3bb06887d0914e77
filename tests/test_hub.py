"""Repositories of the hub: from its cache, and from a server on this machine that speaks as it does."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from checkpoints import PROCESSOR, make_folder
from commands import runner

from rtseg import hub, store
from rtseg.errors import DependencyMissing, DownloadFailed, ModelCorrupt, ModelNotFound
from rtseg.hub import Wanted

pytest.importorskip("huggingface_hub", reason="rtseg[hub] is not installed")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"
LOOK = """
import sys
from rtseg import store
from rtseg.errors import RtsegError
try:
    card = store.find_card(sys.argv[1])
    print(card.source, store.verify(card))
except RtsegError as error:
    print(type(error).__name__, error)
"""


@dataclass
class Hub:
    """A server of one repository, owner/tiny: `revisions` are its commits by name; `asked` is what came in."""

    folder: Path
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def look(self, name: str, home: Path, **environment: str) -> str:
        """What a new process finds under a name: "SOURCE PATH", or an error."""
        variables = {**os.environ, "HF_ENDPOINT": self.url, "HF_HOME": str(home / "hf"), "RTSEG_CACHE": str(home)}
        variables |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0", **environment}
        done = subprocess.run(
            [sys.executable, "-c", LOOK, name], env=variables, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Hub]:
    repository = Hub(make_folder(tmp_path / "repository"))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(head=True)

        def do_GET(self) -> None:
            self.answer(head=False)

        def answer(self, *, head: bool) -> None:
            repository.asked.append(self.path)
            path = self.path.partition("?")[0]
            kind, _, rest = path.removeprefix("/api/models/owner/tiny").lstrip("/").partition("/")
            if path.startswith("/api/models/owner/tiny") and kind in ("revision", "tree", ""):
                revision = rest.partition("/")[0] or "main"
                commit = repository.revisions.get(revision, revision)
                if commit not in repository.revisions.values():
                    self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                    return
                files = [p for p in sorted(repository.folder.rglob("*")) if p.is_file()]
                names = [str(p.relative_to(repository.folder)) for p in files]
                if kind == "tree":
                    tree: Any = [
                        {"type": "file", "path": n, "size": p.stat().st_size, "oid": "0" * 40}
                        for n, p in zip(names, files, strict=True)
                    ]
                else:
                    tree = {"id": "owner/tiny", "sha": commit, "siblings": [{"rfilename": n} for n in names]}
                self.reply(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
            elif path.startswith("/owner/tiny/resolve/"):
                revision, _, name = path.removeprefix("/owner/tiny/resolve/").partition("/")
                file = repository.folder / name
                commit = repository.revisions.get(revision, revision)
                if not file.is_file():
                    self.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
                    return
                data = file.read_bytes()
                about = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": commit}
                self.reply(200, data, about, head=head)
            else:
                self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        def reply(self, code: int, body: bytes, headers: dict[str, str], *, head: bool = False) -> None:
            self.send_response(code)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if not head and self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        repository.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield repository
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("owner/tiny", Wanted("owner/tiny")),
        ("owner/tiny@v1.0", Wanted("owner/tiny", "v1.0")),
        ("owner/tiny/onnx/model_fp16.onnx", Wanted("owner/tiny", None, "onnx/model_fp16.onnx")),
        ("owner/tiny@abc/model.onnx", Wanted("owner/tiny", "abc", "model.onnx")),
        ("portrait", None),
        ("folder/card.toml", None),
        ("folder/cups.onnx", None),
        ("../folder", None),
        ("/folder/model", None),
        ("a/b/c", None),
        ("owner/tiny/../model.onnx", None),
    ],
)
def test_names_of_repositories(name: str, wanted: Wanted | None) -> None:
    assert hub.parse(name) == wanted


@pytest.mark.slow
def test_a_repository_is_fetched_once_pinned_and_used_offline(served: Hub, tmp_path: Path) -> None:
    first = served.look("owner/tiny", tmp_path)
    assert first.startswith(f"owner/tiny@{COMMIT} "), first
    assert first.endswith(f"snapshots/{COMMIT}/onnx/model.onnx")
    assert not [path for path in served.asked if "fp16" in path or "quantized" in path]
    pins = json.loads((tmp_path / "hub" / "owner--tiny.json").read_text())
    model = (served.folder / "onnx" / "model.onnx").read_bytes()
    assert pins["main"]["commit"] == COMMIT
    assert pins["main"]["files"]["onnx/model.onnx"] == hashlib.sha256(model).hexdigest()
    served.asked.clear()
    served.revisions["main"] = OTHER
    assert served.look("owner/tiny", tmp_path) == first
    assert served.look("owner/tiny", tmp_path, HF_HUB_OFFLINE="1") == first
    assert served.asked == []
    assert served.look("owner/tiny@main/onnx/model.onnx", tmp_path) == first


@pytest.mark.slow
def test_what_the_hub_does_not_have_is_one_error(served: Hub, tmp_path: Path) -> None:
    assert served.look("owner/none", tmp_path).startswith("DownloadFailed owner/none@main cannot be had: ")
    assert served.look("owner/tiny@none", tmp_path).startswith("DownloadFailed owner/tiny@none cannot be had: ")
    assert served.look("owner/tiny/other.onnx", tmp_path).startswith("ModelNotFound owner/tiny@main has no graph at")
    offline = served.look("owner/tiny@v2", tmp_path, HF_HUB_OFFLINE="1")
    assert offline.startswith("DownloadFailed owner/tiny@v2 cannot be had: ")
    assert len(offline.splitlines()) == 1


def cached(home: Path, *, commit: str = COMMIT, external: bool = False) -> Path:
    """The hub's own cache with owner/tiny in it: blobs, and a snapshot of links to them."""
    source = make_folder(home / "source")
    path = source / "onnx" / "model.onnx"
    if external:
        onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    repository = home / "hf" / "hub" / "models--owner--tiny"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(commit)
    for file in source.rglob("*"):
        if file.is_file():
            blob = repository / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
            blob.parent.mkdir(exist_ok=True)
            shutil.copy(file, blob)
            link = repository / "snapshots" / commit / file.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    return repository / "snapshots" / commit


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path))
    return tmp_path


def test_what_the_hubs_cache_has_is_taken_without_a_network(home: Path) -> None:
    snapshot = cached(home)
    card = store.find_card("owner/tiny")
    assert (card.name, card.source) == ("owner--tiny", f"owner/tiny@{COMMIT}")
    assert store.verify(card) == snapshot / "onnx" / "model.onnx"
    assert card.input.size == (PROCESSOR["size"]["width"], PROCESSOR["size"]["height"])


def test_a_file_that_changed_since_it_was_fetched_is_refused(home: Path) -> None:
    snapshot = cached(home)
    store.find_card("owner/tiny")
    with (snapshot / "config.json").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ModelCorrupt, match=r"config.json is damaged: its SHA-256 is \w+, and was"):
        store.find_card("owner/tiny")


def test_weights_beside_the_graph_are_copied_since_graphs_follow_no_links(home: Path) -> None:
    cached(home, external=True)
    card = store.find_card("owner/tiny")
    path = store.verify(card)
    assert path == home / "hub" / "owner--tiny" / COMMIT / "onnx" / "model.onnx"
    assert not (path.parent / "model.onnx_data").is_symlink()
    from rtseg.inference.engine import OrtEngine

    engine = OrtEngine(path, shapes={"pixel_values": (1, 3, 24, 32)})
    scores = engine({"pixel_values": np.ones((1, 3, 24, 32), np.float32)})["logits"]
    assert float(np.abs(scores).max()) > 0.1


def test_renewing_looks_again_what_a_revision_is(home: Path) -> None:
    cached(home)
    store.find_card("owner/tiny")
    cached(home, commit=OTHER)
    wanted = Wanted("owner/tiny")
    assert hub.fetch(wanted, ("onnx/model.onnx",)).origin == f"owner/tiny@{COMMIT}"
    assert hub.fetch(wanted, ("onnx/model.onnx",), renew=True).origin == f"owner/tiny@{OTHER}"
    assert hub.fetch(wanted, ("onnx/model.onnx",)).origin == f"owner/tiny@{OTHER}"


def test_pull_looks_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cached(home)
    store.find_card("owner/tiny")
    snapshot = cached(home, commit=OTHER)
    pulled = runner(capsys)("models", "pull", "owner/tiny", "--json")
    assert (pulled.code, pulled.json["path"]) == (0, str(snapshot / "onnx" / "model.onnx"))
    assert store.find_card("owner/tiny").source == f"owner/tiny@{OTHER}"


def test_a_damaged_record_and_a_missing_graph_are_named(home: Path) -> None:
    snapshot = cached(home)
    (snapshot / "onnx" / "model.onnx").unlink()
    with pytest.raises(ModelNotFound, match=r"owner/tiny@main has no graph at onnx/model.onnx, model.onnx"):
        store.find_card("owner/tiny")
    (home / "hub").mkdir(exist_ok=True)
    (home / "hub" / "owner--tiny.json").write_text("{")
    with pytest.raises(ModelCorrupt, match=r"owner--tiny.json, which says what was fetched, is damaged"):
        store.find_card("owner/tiny")


def test_without_the_extra_the_error_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DependencyMissing, match=r"pip install 'rtseg\[hub\]'"):
        store.find_card("owner/tiny")


def test_an_empty_cache_offline_is_a_failed_download(home: Path) -> None:
    with pytest.raises(DownloadFailed, match="owner/tiny@main cannot be had: "):
        store.find_card("owner/tiny")
