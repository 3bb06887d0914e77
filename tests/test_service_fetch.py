"""Which addresses the service goes to when a client names them: none that is not the internet's."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from rtseg.service.fetch import Address, Fetcher, is_public
from rtseg.service.refusals import Refusal


@dataclass
class Trap:
    """A server on this machine that remembers who came."""

    port: int
    visits: list[bytes] = field(default_factory=list)


@contextmanager
def trap(answer: Callable[[bytes, socket.socket], None]) -> Iterator[Trap]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = Trap(listening.getsockname()[1])

        def work() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    try:
                        head = connection.recv(65536)
                        made.visits.append(head)
                        answer(head, connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield made
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def serving(body: bytes, status: str = "200 OK", *headers: str) -> Callable[[bytes, socket.socket], None]:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return lambda _, connection: connection.sendall("\r\n".join(lines).encode() + body)


def anywhere(_: Address) -> bool:
    return True


def fetcher(*, timeout: float = 5.0, max_bytes: int = 1000, allowed: Callable[[Address], bool] = anywhere) -> Fetcher:
    return Fetcher(max_bytes=max_bytes, timeout=timeout, allowed=allowed)


HOSTS = (
    "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.255.255.254", "0.0.0.0", "[::1]",
    "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
)  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_nobody_inside_is_visited(host: str) -> None:
    with trap(serving(b"secret")) as inside:
        with pytest.raises(Refusal) as refusal:
            fetcher(allowed=is_public)(f"http://{host}:{inside.port}/latest/meta-data")
        assert not inside.visits
    assert refusal.value.status in (422, 424)  # 424: this system's resolver knows no such number
    assert "secret" not in refusal.value.message


@pytest.mark.parametrize(
    "number",
    [
        "10.0.0.1", "172.16.0.1", "192.168.0.1", "127.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1", "fd00:ec2::254",
    ],
)  # fmt: skip
def test_these_are_not_public(number: str) -> None:
    assert not is_public(ipaddress.ip_address(number))


@pytest.mark.parametrize("number", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_these_are_public(number: str) -> None:
    assert is_public(ipaddress.ip_address(number))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://1.1.1.1/x", "gopher://1.1.1.1/", "data:image/png;base64,AA==", "concat:a|b",
        "subfile:,,start,0,end,0,,:/etc/passwd", "//1.1.1.1/", "1.1.1.1/x.png", "http://", "http:///x", "",
        "http://user:pass@1.1.1.1/", "http://1.1.1.1@127.0.0.1/", "http://1.1.1.1:99999/", "http://1.1.1.1:0/",
        "http://1.1.1.1/\r\nX: y", "http://1.1.1.1/a b", "http://1.1.1.1/\x00", "http://[::1", "http://１.1.1.1/",
        "http://1.1.1.1/" + "a" * 3000,
    ],
)  # fmt: skip
def test_other_schemes_and_odd_addresses_are_refused(url: str) -> None:
    with pytest.raises(Refusal) as refusal:
        fetcher()(url)
    assert refusal.value.status == 422


def test_a_public_address_is_fetched() -> None:
    with trap(serving(b"picture")) as outside:
        assert fetcher()(f"http://127.0.0.1:{outside.port}/a?b=c") == b"picture"
        assert outside.visits[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")


def test_a_name_that_answers_otherwise_the_second_time_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = socket.getaddrinfo, list[str]()

    def rebinding(host: str, *arguments: object, **more: object) -> object:
        asked.append(host)
        return real("127.0.0.1" if host == "rebind.example" else host, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with trap(serving(b"picture")) as outside:
        assert fetcher()(f"http://rebind.example:{outside.port}/") == b"picture"
    assert asked == ["rebind.example"], "looked up once: what was judged is what was connected to"


def test_one_number_of_several_that_is_not_public_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, 80)) for number in ("1.1.1.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(Refusal, match="no public address"):
        fetcher(allowed=is_public)("http://both.example/")


def test_redirects_are_judged_anew() -> None:
    with trap(serving(b"secret")) as inside:
        moved = f"Location: http://127.0.0.2:{inside.port}/"
        with trap(serving(b"", "302 Found", moved)) as outside:
            refusing = fetcher(allowed=lambda address: str(address) == "127.0.0.1")
            with pytest.raises(Refusal, match="no public address"):
                refusing(f"http://127.0.0.1:{outside.port}/")
            assert len(outside.visits) == 1
        assert not inside.visits


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x/", "http://a:b@127.0.0.1/"])
def test_redirects_to_other_schemes_are_refused(target: str) -> None:
    with trap(serving(b"", "301 Moved", f"Location: {target}")) as outside, pytest.raises(Refusal) as refusal:
        fetcher()(f"http://127.0.0.1:{outside.port}/")
    assert refusal.value.status == 422


def test_a_redirect_is_followed_and_a_circle_is_left() -> None:
    with trap(serving(b"", "302 Found", "Location: /again")) as outside:
        with pytest.raises(Refusal, match="redirects more than 3 times"):
            fetcher()(f"http://127.0.0.1:{outside.port}/")
        assert len(outside.visits) == 4


@pytest.mark.parametrize("declared", [True, False])
def test_too_many_bytes_are_refused(declared: bool) -> None:
    length = "Content-Length: 100000\r\n" if declared else ""

    def answer(_: bytes, connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode() + bytes(100_000))

    with trap(answer) as outside, pytest.raises(Refusal) as refusal:
        fetcher()(f"http://127.0.0.1:{outside.port}/")
    assert refusal.value.status == 413


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"])
def test_who_drips_is_left_when_the_time_is_over(head: bytes) -> None:
    def answer(_: bytes, connection: socket.socket) -> None:
        connection.sendall(head)
        for _byte in range(200):
            connection.sendall(b"x")
            time.sleep(0.02)

    with trap(answer) as outside:
        started = time.monotonic()
        with pytest.raises(Refusal) as refusal:
            fetcher(timeout=0.3)(f"http://127.0.0.1:{outside.port}/")
        assert time.monotonic() - started < 2
    assert refusal.value.status == 424


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", b"HTTP/1.1 404 No\r\n\r\n"],
)
def test_what_gives_no_picture_is_a_failure_there(answer: bytes) -> None:
    with trap(lambda _, connection: connection.sendall(answer)) as outside, pytest.raises(Refusal) as refusal:
        fetcher()(f"http://127.0.0.1:{outside.port}/")
    assert refusal.value.status == 424


def test_a_name_that_does_not_exist_is_a_failure_there() -> None:
    with pytest.raises(Refusal) as refusal:
        fetcher(allowed=is_public)("http://nowhere.invalid/")
    assert refusal.value.status == 424
