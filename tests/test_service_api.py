"""The service over a real connection: what it answers, and what it refuses."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving import SIZE, Running, decoded, desk, encoded, left_half, picture, running

from rtseg.ops.arrays import F32
from rtseg.service.fetch import Fetcher
from rtseg.service.intake import Upload
from rtseg.service.jobs import Infer, Segment
from rtseg.service.schemas import SegmentQuery

TOKEN = "a-token-of-24-characters"
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(max_bytes=100_000, max_pixels=10_000) as started:
        yield started


def mask_of(segment: Any) -> Any:
    return decoded(base64.b64decode(segment["mask"]))


def refusal(response: httpx.Response) -> str:
    """The one line of an answer that is no result."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    assert body["error"].isprintable()
    assert "/work" not in body["error"]
    assert "Traceback" not in body["error"]
    return str(body["error"])


@pytest.mark.parametrize("path", ["/", "/models/rtseg/echo", "/models/anybody/echo"])
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "bmp"])
def test_raw_bytes_are_segmented(server: Running, path: str, kind: str) -> None:
    (segment,) = server.client.post(path, content=encoded(picture(), kind)).raise_for_status().json()
    assert list(segment) == ["label", "score", "mask"]
    assert (segment["label"], segment["score"]) == ("person", 1.0)
    assert np.array_equal(mask_of(segment)[0], np.repeat([255, 0], 32))


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
def test_base64_in_json_is_segmented_with_its_parameters(server: Running, head: str) -> None:
    body = {"inputs": head + base64.b64encode(encoded(picture())).decode(), "parameters": {"mask_threshold": 0.5}}
    (segment,) = server.client.post("/", json={**body, "options": {"wait": True}}).raise_for_status().json()
    assert set(np.unique(mask_of(segment))) == {0, 255}
    body["parameters"] = {"subtask": "instance"}
    assert "it does semantic" in refusal(server.client.post("/", json=body))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b"\xff\xfe", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"inputs": 1}', 422),
        (b'{"inputs": "***"}', 422),
        (b'{"inputs": "data:image/png,AA"}', 422),
        (b'{"inputs": "AA==", "parameters": {"threshold": 2}}', 422),
        (b'{"inputs": "AA==", "parameters": {"threshold": NaN}}', 422),
        (b'{"inputs": "AA==", "parameters": {"treshold": 0.5}}', 422),
        (b'{"inputs": "https://example.org/x.png"}', 422),
        (b'{"inputs": "file:///etc/passwd"}', 422),
    ],
)
def test_json_that_says_nothing_is_refused(server: Running, body: bytes, status: int) -> None:
    response = server.client.post("/", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    refusal(response)


@pytest.mark.parametrize(
    "path", ["/models/rtseg/none", "/models/../echo2", "/models/..%2f..%2fetc/passwd", "/models/a/%0d%0ax", "/x"]
)
def test_a_model_that_was_not_loaded_is_not_found(server: Running, path: str) -> None:
    response = server.client.post(path, content=encoded(picture()))
    assert response.status_code == 404
    refusal(response)


def test_segments_are_typed(server: Running) -> None:
    for content, files in ((encoded(picture()), None), (None, {"image": encoded(picture())})):
        answer = server.client.post("/v1/segment", content=content, files=files).raise_for_status().json()
        assert (answer["model"], answer["width"], answer["height"]) == ("echo", *SIZE)
        (segment,) = answer["segments"]
        assert segment["area"] == pytest.approx(0.5)
        assert mask_of(segment).shape == (36, 64)
    body = {"image": base64.b64encode(encoded(picture())).decode()}
    (segment,) = server.client.post("/v1/segment?masks=false", json=body).raise_for_status().json()["segments"]
    assert segment["mask"] is None


@pytest.mark.parametrize(
    "query", ["threshold=2", "treshold=0.5", "model=none", "masks=maybe", "subtask=all", "threshold=nan"]
)
def test_wrong_options_are_refused(server: Running, query: str) -> None:
    response = server.client.post(f"/v1/segment?{query}", content=encoded(picture()))
    assert response.status_code in (404, 422)
    refusal(response)


def composite(server: Running, query: str = "", **files: bytes) -> httpx.Response:
    return server.client.post(f"/v1/composite?{query}", files={"image": encoded(picture()), **files})


def test_the_background_is_cut_out(server: Running) -> None:
    response = composite(server).raise_for_status()
    assert response.headers["content-type"] == "image/png"
    made = decoded(response.content)
    assert np.array_equal(made[0, :, 3], np.repeat([255, 0], 32))
    assert np.abs(made[:, :30, :3].astype(int) - picture()[:, :30]).mean() < 4, "what is kept is as it was"
    assert composite(server, "format=webp").headers["content-type"] == "image/webp"


def test_the_background_becomes_a_colour_or_a_picture(server: Running) -> None:
    red = decoded(composite(server, "background=%23ff0000").raise_for_status().content)
    assert np.abs(red[:, 34:].astype(int) - (0, 0, 255)).max() <= 2
    green = np.zeros((50, 50, 3), np.uint8)
    green[..., 1] = 255
    for query in ("", "background=picture"):
        made = decoded(composite(server, query, background=encoded(green)).raise_for_status().content)
        assert np.abs(made[:, 34:].astype(int) - (0, 255, 0)).max() <= 3
    blurred = composite(server, "background=blur:8&format=jpeg").raise_for_status()
    assert decoded(blurred.content).shape == (36, 64, 3)


def test_classes_are_laid_over(server: Running) -> None:
    made = decoded(composite(server, "overlay=all&legend=false&opacity=1").raise_for_status().content)
    assert np.ptp(made[:, 2:30].astype(int), axis=(0, 1)).max() <= 4, "the tint hides the left half"
    assert np.abs(made[:, 36:].astype(int) - picture()[:, 36:]).mean() < 4


@pytest.mark.parametrize(
    "query",
    [
        "background=/etc/passwd", "background=../x.png", "background=./video.mp4", "background=http://127.0.0.1/x.png",
        "background=none", "background=picture", "background=blur:99", "background=%23zzz",
        "background=blur&overlay=all",
        "overlay=nobody", "overlay=", "format=jpeg", "format=tiff", "opacity=2",
    ],
)  # fmt: skip
def test_composites_that_cannot_be_are_refused(server: Running, query: str) -> None:
    response = composite(server, query)
    assert response.status_code == 422
    refusal(response)


@pytest.mark.parametrize("head", ["", "file:", "./", "blur:"])
def test_a_picture_of_the_servers_own_is_no_background(server: Running, tmp_path: Path, head: str) -> None:
    path = tmp_path / "own.png"
    path.write_bytes(encoded(picture()))
    response = composite(server, f"background={head}{path}")
    assert response.status_code == 422
    assert "background is transparent" in refusal(response) or "blur strength" in refusal(response)


def halves(tensor: F32) -> dict[str, Any]:
    left = left_half(tensor)["y"]
    return {"y": np.concatenate([left, 1 - left], axis=1)}


def test_a_class_without_a_score_is_one_for_clients_that_want_a_number() -> None:
    own = desk(halves, family="semantic", names=("sky", "road"))
    upload = Upload({"image": encoded(picture())})
    found = json.loads(own.do(Infer(upload)).body)
    assert [(each["label"], each["score"]) for each in found] == [("sky", 1.0), ("road", 1.0)]
    typed = json.loads(own.do(Segment(upload, SegmentQuery(masks=False))).body)["segments"]
    assert [each["score"] for each in typed] == [None, None]


def test_parameters_that_a_family_has_not_are_left_alone_as_there_and_refused_under_v1(server: Running) -> None:
    body = {"inputs": base64.b64encode(encoded(picture())).decode(), "parameters": {"overlap_mask_area_threshold": 1.0}}
    assert len(server.client.post("/", json=body).raise_for_status().json()) == 1
    response = server.client.post("/v1/segment?overlap_mask_area_threshold=1", content=encoded(picture()))
    assert response.status_code == 422
    assert "has no option overlap_mask_area_threshold" in refusal(response)


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/passwd", "a\r\nX-Evil: 1", "\x00", "x" * 5000, "CON"])
def test_the_names_of_files_are_nobodys_business(server: Running, name: str) -> None:
    response = server.client.post("/v1/segment", files={"image": (name, encoded(picture()), "image/png")})
    assert response.status_code in (200, 400)
    assert "x-evil" not in response.headers


def test_forms_that_are_none_are_refused(server: Running) -> None:
    heads = ("multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary=" + "x" * 999)
    for head in heads:
        response = server.client.post("/v1/segment", content=b"--x\r\nnonsense", headers={"Content-Type": head})
        assert response.status_code in (400, 422)
        refusal(response)
    other = {"other": encoded(picture())}
    assert "image" in refusal(server.client.post("/v1/segment", files=other))
    text = server.client.post("/v1/segment", files={"image": encoded(picture())}, data={"model": "echo"})
    assert "query" in refusal(text)


def test_it_says_what_it_serves_and_how_it_is(server: Running) -> None:
    (model,) = server.client.get("/v1/models").json()["models"]
    assert (model["name"], model["labels"], model["input_size"]) == ("echo", ["person"], list(SIZE))
    assert server.client.get("/health").json() == {"status": "ok", "workers": 1, "restarts": 0}
    assert server.client.get("/ready").json() == {"status": "ready", "workers": 1, "restarts": 0}
    server.client.post("/", content=encoded(picture()))
    text = server.client.get("/metrics").text
    assert 'rtseg_requests_total{method="POST",route="/",status="200"}' in text
    assert 'rtseg_stage_seconds_count{stage="decode"}' in text
    assert "rtseg_queue_length 0.0" in text
    assert "rtseg_requests_inside 0.0" in text


def test_answers_have_a_number_and_are_not_guessed_at(server: Running) -> None:
    first, second = (server.client.get(path).headers for path in ("/health", "/none"))
    assert first["x-request-id"] != second["x-request-id"]
    assert second["x-content-type-options"] == "nosniff"
    assert "server" not in first
    assert "access-control-allow-origin" not in first


def test_a_large_picture_is_refused_before_it_is_decoded(server: Running) -> None:
    response = server.client.post("/", content=encoded(np.zeros((101, 100, 3), np.uint8)))
    assert response.status_code == 413
    assert "100x101: allowed are 10000 pixels" in refusal(response)


def test_a_long_body_is_refused_by_its_header(server: Running) -> None:
    for path in ("/", "/v1/segment"):
        response = server.client.post(path, content=bytes(100_001))
        assert response.status_code == 413
        assert "allowed are 100000 bytes" in refusal(response)
    long = {"inputs": base64.b64encode(bytes(100_010)).decode()}
    assert server.client.post("/", json=long).status_code == 413
    assert server.client.post("/v1/segment", files={"image": bytes(100_001)}).status_code == 413


def raw(server: Running, data: bytes, *, wait: float = 5.0) -> bytes:
    """What a connection answers to these bytes until it ends."""
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port or 0), timeout=wait) as connection:
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


@pytest.mark.parametrize("kind", [b"image/png", b"multipart/form-data; boundary=x", b"application/json"])
def test_a_body_without_a_length_is_counted_while_it_comes(server: Running, kind: bytes) -> None:
    head = b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: " + kind
    part = b"--x\r\nContent-Disposition: form-data; name=image; filename=a\r\n\r\n" + bytes(250_000)
    chunks = b"%x\r\n%s\r\n" % (len(part), part)
    assert raw(server, head + b"\r\nConnection: close\r\n\r\n" + 2 * chunks).startswith(b"HTTP/1.1 413 ")


def test_a_declared_length_is_enough_to_be_refused(server: Running) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n"
    started = time.monotonic()
    assert raw(server, head).startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - started < 2, "nobody waited for the body"


def test_compressed_bodies_are_not_taken(server: Running) -> None:
    response = server.client.post("/", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415


def test_who_sends_half_a_head_or_half_a_body_is_left() -> None:
    with running(upload_timeout=0.3) as slow:
        for head in (b"", b"POST / HT", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: y\r\n"):
            started = time.monotonic()
            with contextlib.suppress(ConnectionResetError):
                assert raw(slow, head) == b""
            assert time.monotonic() - started < 2
        body = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"
        assert raw(slow, body).startswith(b"HTTP/1.1 408 ")
        assert slow.client.get("/health").status_code == 200


def test_who_drips_a_head_is_left() -> None:
    with running(upload_timeout=0.3) as slow:
        address = httpx.URL(slow.url)
        with socket.create_connection((address.host, address.port or 0), timeout=5) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\n")

            def drip() -> None:
                for _ in range(100):
                    time.sleep(0.02)
                    connection.sendall(b"X: y\r\n")

            with pytest.raises(ConnectionError):
                drip()


class Gate:
    """A network that waits until it is let."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, tensor: F32) -> dict[str, Any]:
        self.began.release()
        assert self.open.wait(20)
        return left_half(tensor)


def in_background(server: Running, results: list[int]) -> threading.Thread:
    def work() -> None:
        results.append(httpx.post(server.url, content=encoded(picture()), timeout=20, verify=False).status_code)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came so far")


def test_who_finds_no_place_is_told_at_once_and_health_answers() -> None:
    gate, results = Gate(), list[int]()
    with running(answer=gate, workers=1, queue=1) as busy:
        threads = [in_background(busy, results) for _ in range(2)]
        until(lambda: "rtseg_requests_inside 2.0" in busy.client.get("/metrics").text)
        started = time.monotonic()
        response = busy.client.post("/", content=encoded(picture()))
        assert time.monotonic() - started < 0.5
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        refusal(response)
        assert busy.client.get("/health").status_code == 200
        gate.open.set()
        for thread in threads:
            thread.join()
        assert results == [200, 200]
        assert busy.client.post("/", content=encoded(picture())).status_code == 200


def test_what_takes_too_long_is_answered_and_never_begun() -> None:
    gate, results = Gate(), list[int]()
    with running(answer=gate, workers=1, queue=4, timeout=0.3) as slow:
        threads = [in_background(slow, results) for _ in range(3)]
        for thread in threads:
            thread.join()
        assert results == [503, 503, 503]
        gate.open.set()
        until(lambda: slow.service.workers.waiting == 0)
        assert slow.client.post("/", content=encoded(picture())).status_code == 200
        assert sum(gate.began.acquire(blocking=False) for _ in range(9)) == 2, "the first, and the last"


def test_a_network_that_fails_shows_nobody_elses_mask() -> None:
    answers = iter([1.0, float("nan"), 1.0])

    def failing(tensor: F32) -> dict[str, Any]:
        return {"y": left_half(tensor)["y"] * next(answers)}

    with running(answer=failing) as server:
        assert server.client.post("/", content=encoded(picture())).status_code == 200
        response = server.client.post("/", content=encoded(picture()))
        assert (response.status_code, refusal(response)) == (500, "the network failed on this picture")
        assert server.client.post("/", content=encoded(picture())).status_code == 200


def test_a_bug_is_answered_without_its_traceback() -> None:
    def broken(tensor: F32) -> dict[str, Any]:
        raise RuntimeError("/srv/secret")

    with running(answer=broken) as server:
        response = server.client.post("/", content=encoded(picture()))
        assert (response.status_code, refusal(response)) == (500, "internal error: the log of the service has more")


def test_with_a_token_nothing_but_health_goes_without() -> None:
    with running(token=TOKEN) as server:
        for path in ("/health", "/ready"):
            assert server.client.get(path).status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json", "/none"):
            assert server.client.get(path).status_code == 401
        for given in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer", "Bearer \xff", TOKEN):
            headers = httpx.Headers([(b"Authorization", given.encode("latin-1"))])
            response = server.client.post("/", content=encoded(picture()), headers=headers)
            assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        right = {"Authorization": f"Bearer {TOKEN}", "Origin": "https://example.org"}
        assert server.client.post("/", content=encoded(picture()), headers=right).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "http://127.0.0.1"}, 200),
        ({"Host": "localhost:8000"}, 200),
        ({"Origin": "https://example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.example.org"}, 403),
        ({"Host": "example.org"}, 403),
        ({"Host": "127.0.0.1.example.org:8000"}, 403),
        ({"Host": "[::1"}, 403),
    ],
)
def test_without_a_token_foreign_pages_and_names_are_kept_out(
    server: Running, headers: dict[str, str], status: int
) -> None:
    assert server.client.get("/v1/models", headers=headers).status_code == status


def test_addresses_are_fetched_only_where_that_is_on(server: Running) -> None:
    asked = list[str]()

    class Recorded(Fetcher):
        def __call__(self, url: str) -> bytes:
            asked.append(url)
            return encoded(picture())

    fetcher = Recorded(max_bytes=9)
    with running(fetch=True, fetcher=fetcher) as fetching:
        for path, body in (("/", {"inputs": "https://a.example/x"}), ("/v1/segment", {"url": "https://b.example/"})):
            assert fetching.client.post(path, json=body).status_code == 200
            response = server.client.post(path, json=body)
            assert response.status_code == 422
            assert "not fetched here" in refusal(response)
        # without a stand-in: this machine's own
        inside = {"url": f"{server.url}/health"}
    with running(fetch=True) as fetching:
        assert fetching.client.post("/v1/segment", json=inside).status_code == 422
    assert asked == ["https://a.example/x", "https://b.example/"]


def test_the_openapi_document_has_an_example_for_each_body(server: Running) -> None:
    document = server.client.get("/openapi.json").json()
    assert json.dumps(document).count('"examples"') >= 3
    for path in ("/", "/models/{owner}/{name}", "/v1/segment", "/v1/composite"):
        operation = document["paths"][path]["post"]
        assert "application/json" in operation["requestBody"]["content"]
        assert "503" in operation["responses"]
