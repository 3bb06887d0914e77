"""Hugging Face's own JavaScript client against the service, unchanged, from npm."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import SIZE, Running, decoded, encoded, picture, running

PACKAGE = "@huggingface/inference@4.13.30"
SCRIPT = """
import { InferenceClient } from "@huggingface/inference";
import { readFileSync } from "node:fs";
const [url, token, file, parameters] = process.argv.slice(2);
const client = new InferenceClient(token || undefined);
try {
  const inputs = new Blob([readFileSync(file)], { type: "image/png" });
  const found = await client.imageSegmentation({ endpointUrl: url, inputs, parameters: JSON.parse(parameters) });
  console.log(JSON.stringify({ found }));
} catch (error) {
  console.log(JSON.stringify({ error: String(error), status: error.httpResponse?.status }));
}
"""

pytestmark = pytest.mark.slow


def missing(reason: str) -> None:
    """Skip on a user's machine; fail where RTSEG_REQUIRE says that it must be there."""
    if "npm" in os.environ.get("RTSEG_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed, and the script in it."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        missing("node and npm are not installed")
    assert npm is not None
    folder = tmp_path_factory.mktemp("npm")
    (folder / "ask.mjs").write_text(SCRIPT)
    (folder / "package.json").write_text("{}")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=110)
    if done.returncode:
        missing(f"npm cannot install {PACKAGE}: {done.stderr[-200:]}")
    return folder / "ask.mjs"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as running_server:
        yield running_server


def ask(script: Path, url: str, *, token: str = "", file: bytes | None = None, **parameters: Any) -> Any:
    path = script.with_name("picture.png")
    path.write_bytes(encoded(picture()) if file is None else file)
    command = ["node", str(script), url, token, str(path), json.dumps(parameters)]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


@pytest.mark.parametrize("path", ["/", "/models/rtseg/echo"])
def test_the_client_gets_label_score_and_mask(script: Path, server: Running, path: str) -> None:
    (segment,) = ask(script, server.url + path)["found"]
    assert (segment["label"], segment["score"]) == ("person", 1.0)
    mask = decoded(base64.b64decode(segment["mask"]))
    assert mask.shape == (SIZE[1], SIZE[0])
    assert np.array_equal(mask[:, :32], np.full((36, 32), 255))
    assert not mask[:, 32:].any()


def test_its_parameters_are_honoured(script: Path, server: Running) -> None:
    asked: dict[str, Any] = {
        "threshold": 1.0,
        "mask_threshold": 0.5,
        "overlap_mask_area_threshold": 0.5,
        "subtask": "semantic",
    }
    (segment,) = ask(script, server.url, **asked)["found"]
    assert set(np.unique(decoded(base64.b64decode(segment["mask"])))) == {0, 255}
    assert ask(script, server.url, subtask="panoptic")["status"] == 422


def test_its_token_is_asked_for(script: Path) -> None:
    token = "secret-of-the-service"
    with running(token=token) as guarded:
        assert len(ask(script, guarded.url, token=token)["found"]) == 1
        assert ask(script, guarded.url, token="some-other-token")["status"] == 401


def test_a_refusal_reaches_the_client_as_one_line(script: Path, server: Running) -> None:
    answer = ask(script, server.url, file=b"no picture")
    assert answer["status"] == 422
    assert "none of JPEG, PNG" in answer["error"] or "HTTP" in answer["error"]
