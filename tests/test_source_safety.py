"""What a file that was sent by somebody may not make the program do: open other files, open addresses, fill memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from footage import in_child, moving, write_video

from rtseg.errors import SourceError, SourceUnreadable
from rtseg.sources.images import ImageFiles
from rtseg.sources.video import VideoFile


class Trap(ThreadingHTTPServer):
    """A server on this machine that serves a video, and remembers who came."""

    def __init__(self, video: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.video, self.visits = video, list[str]()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Trap)
        self.server.visits.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.video)))
        self.end_headers()
        self.wfile.write(self.server.video)

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - the standard library's word


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A video that no other file may lead to."""
    return write_video(tmp_path / "secret.ts", moving(3))


@pytest.fixture
def trap(secret: Path) -> Iterator[Trap]:
    with Trap(secret.read_bytes()) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


REFERENCES = {
    "ffconcat": "ffconcat version 1.0\nfile '{name}'\n",
    "ffconcat, later": "\n\n  ffconcat version 1.0\nfile '{name}'\n",
    "ffconcat, marked": "\ufeffffconcat version 1.0\nfile '{name}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:3,\n{name}\n#EXT-X-ENDLIST\n",
    "hls, master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9000\n{name}\n",
    "dash": """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"><Period><AdaptationSet>
<Representation id="1" mimeType="video/mp4" codecs="avc1" bandwidth="9000"><BaseURL>{name}</BaseURL></Representation>
</AdaptationSet></Period></MPD>""",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "imf": """<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">
<Id>urn:uuid:1</Id><EditRate>25 1</EditRate><Asset>{name}</Asset></CompositionPlaylist>""",
    "playlist": "[playlist]\nFile1={name}\nNumberOfEntries=1\n",
    "redirect": "[Reference]\nRef1={name}\n",
    "names only": "{name}\n",
}
SUFFIXES = ("mp4", "txt", "m3u8", "ffconcat", "mpd", "sdp", "ts")


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES.keys())
def test_files_that_name_others_are_refused_and_open_nothing(
    reference: str, secret: Path, trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = f"http://127.0.0.1:{trap.port}/secret.ts"
    names = (
        secret.name,
        str(secret),
        f"file:{secret}",
        address,
        f"concat:{secret}",
        f"subfile,,start,0,end,0,,:{secret}",
        f"cache:{secret}",
        f"async:{secret}",
        f"crypto:{secret}",
        f"tcp://127.0.0.1:{trap.port}",
        f"data:video/mp2t;base64,{'AAAA' * 10}",
    )
    for name in names:
        for suffix in SUFFIXES if name == secret.name else ("mp4",):
            path = tmp_path / f"sent.{suffix}"
            path.write_text(reference.format(name=name))
            with pytest.raises(SourceUnreadable):
                VideoFile(path)
            with pytest.raises(SourceUnreadable):
                list(ImageFiles([path]))
    assert trap.visits == []


@pytest.mark.parametrize("protocol", ["file:", "concat:", "subfile,,start,0,end,0,,:", "cache:", "async:", "crypto:"])
def test_paths_are_paths_and_no_protocols(protocol: str, secret: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        VideoFile(f"{protocol}{secret}")


def test_addresses_are_no_paths(trap: Trap) -> None:
    for address in (f"http://127.0.0.1:{trap.port}/secret.ts", f"tcp://127.0.0.1:{trap.port}"):
        with pytest.raises(SourceError, match="does not exist"):
            VideoFile(address)
        with pytest.raises(SourceError, match="does not exist"):
            list(ImageFiles([address]))
    assert trap.visits == []


def test_a_name_with_a_pattern_does_not_take_other_files(tmp_path: Path) -> None:
    for number in range(3):
        write_video(tmp_path / f"{number}.jpg", moving(1), codec="mjpeg", pix_fmt="yuvj420p", options={})
    for pattern in ("%d.jpg", "*.jpg", "[0-9].jpg"):
        with pytest.raises(SourceError, match="does not exist"):
            list(ImageFiles([tmp_path / pattern]))


def test_a_huge_picture_is_refused_before_memory_is_taken_for_it(tmp_path: Path) -> None:
    """9000 x 9000 of nothing: 1 MB as a file, 243 MB as planes. Only a process of its own tells what it took."""
    said = json.loads(in_child(BOMB, str(tmp_path)))
    assert [end["error"] for end in said] == ["SourceTooLarge"] * len(said)
    assert len(said) == 3
    assert max(end["grown"] for end in said) < 60, said


BOMB = r"""
import json, resource, struct, sys, zlib
from pathlib import Path
from rtseg.errors import SourceError
from rtseg.sources.images import ImageFiles
from rtseg.sources.video import VideoFile
folder, side, ends = Path(sys.argv[1]), 9_000, []
pack = zlib.compressobj(9, wbits=-15)
line = pack.compress(bytes(side * 3 + 1)) + pack.flush(zlib.Z_FULL_FLUSH)
check = struct.pack(">HH", side * (side * 3 + 1) % 65521, 1)  # Adler-32 of zeros
lines = b"\x78\x01" + line * side + b"\x03\x00" + check
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
path = folder / "bomb.png"
path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", lines) + chunk(b"IEND", b""))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for attempt in (
    lambda: list(ImageFiles([path])),
    lambda: VideoFile(path),
    lambda: VideoFile(path, max_pixels=side * side * 9 // 10),
):
    try:
        attempt()
        error = None
    except SourceError as caught:
        error = type(caught).__name__
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    ends.append({"error": error, "grown": grown})
print(json.dumps(ends))
"""
