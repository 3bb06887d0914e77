"""RTMP and RTSP in a process of their own, which can be ended whatever FFmpeg waits for.

PyAV opens an output, and writes its header and trailer, with the interpreter's lock held and without a time-out: in
this process a server that accepts and then says nothing would stop every thread for ever. So a child gets the packets
over a pipe and hands them to FFmpeg. It sets an alarm before each step, which ends it without asking Python, and goes
when the pipe is closed, so that none outlives its parent. Addresses go over the pipe too: arguments can be read by all.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import av

import rtseg
from rtseg.sinks.live import Encoded
from rtseg.sinks.muxing import LiveMux, open_output
from rtseg.types import Size

_HEAD = struct.Struct(">qqBI")
"""Before each packet: pts, dts, whether it is a key frame, bytes."""
_START = 10.0
"""Seconds that the child may take to begin, imports included, besides the time-out of the network."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the child does, as the first line of its input. options: of the muxer."""

    url: str
    format: str
    options: dict[str, str]
    width: int
    height: int
    rate: float
    silence: bool
    timeout: float


class Relay:
    """The parent's end. Raises OSError, TimeoutError among them, for all that goes wrong, with FFmpeg's own words.

    Made, it has opened nothing: the header is written together with the first packet, for which `write` waits.
    """

    def __init__(self, job: Job) -> None:
        self._timeout = job.timeout
        self._opened = False
        self._said = b""
        root = str(Path(rtseg.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        # A group of its own: Ctrl-C in a terminal is for the parent, which ends the child in order.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rtseg.sinks.relay"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        self._first = json.dumps(asdict(job)).encode() + b"\n"

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._process.pid

    def write(self, packet: Encoded) -> None:
        """Hand over one packet; the first returns when the server has taken the header."""
        head = _HEAD.pack(packet.pts, packet.dts, packet.key, len(packet.data))
        try:
            self._send(self._first + head + packet.data, self._timeout + (0 if self._opened else _START))
            self._first = b""
            if not self._opened:
                self._wait_open()
        except BaseException:
            self._kill()
            raise

    def close(self) -> None:
        """End the stream and the child; OSError where the end could not be written."""
        stream = self._process.stdin
        if stream is None or stream.closed:
            return
        with contextlib.suppress(OSError):
            stream.close()
        try:
            code = self._process.wait(self._timeout + 1)
        except subprocess.TimeoutExpired:
            self._kill()
            raise TimeoutError(f"the stream did not end within {self._timeout:g} s") from None
        try:
            if code != 0 and self._opened:
                raise OSError(self._reason())
        finally:
            self._kill()

    def _send(self, data: bytes, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._in, view) :]
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select((), (self._in,), (), left)[1]:
                    raise TimeoutError(f"nothing was taken for {self._timeout:g} s") from None
            except BrokenPipeError:
                raise OSError(self._reason()) from None

    def _wait_open(self) -> None:
        if not select.select((self._out,), (), (), self._timeout + _START)[0]:
            raise TimeoutError(f"no answer for {self._timeout:g} s")
        self._said = os.read(self._out, 4096)
        if not self._said.startswith(b"+"):
            raise OSError(self._reason())
        self._opened = True

    def _reason(self) -> str:
        """Why the child ended: it is gone, or going."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return f"nothing was taken for {self._timeout:g} s"
        if code == -signal.SIGALRM:
            return f"no answer for {self._timeout:g} s"
        if select.select((self._out,), (), (), 0)[0]:
            self._said += os.read(self._out, 4096)
        words = self._said.decode(errors="replace").lstrip("+").strip()
        return words or f"the process that sends it ended with {code}"

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def main(stdin: BinaryIO, stdout: BinaryIO) -> int:
    """The child: read a job and packets, write them; an error is one line on `stdout`, and code 1."""
    job = Job(**json.loads(stdin.readline()))
    mux: LiveMux | None = None
    try:
        while len(head := stdin.read(_HEAD.size)) == _HEAD.size:
            pts, dts, key, size = _HEAD.unpack(head)
            packet = Encoded(stdin.read(size), pts, dts, bool(key))
            if len(packet.data) < size:
                break
            signal.setitimer(signal.ITIMER_REAL, job.timeout)
            if mux is None:
                container = open_output(job.url, job.format, **job.options)
                mux = LiveMux(container, size=Size(job.width, job.height), rate=job.rate, silence=job.silence)
                mux.write(packet)
                stdout.write(b"+")
                stdout.flush()
            else:
                mux.write(packet)
            signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, job.timeout)
        if mux is not None:
            mux.close()
    except (OSError, ValueError, av.error.FFmpegError) as error:
        stdout.write(str(getattr(error, "strerror", None) or error).splitlines()[0].encode())
        stdout.flush()
        os._exit(1)  # a container is closed by the interpreter's end, which would wait for the server once more
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer, sys.stdout.buffer))
