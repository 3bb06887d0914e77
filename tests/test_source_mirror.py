"""Reading the boxes of an mp4 that say how it is shown, hostile ones too."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from rtseg.sources.mirror import is_mirrored

UPRIGHT, MIRRORED, QUARTER = (1, 0, 0, 1), (-1, 0, 0, 1), (0, 1, -1, 0)


def box(kind: bytes, *bodies: bytes) -> bytes:
    body = b"".join(bodies)
    return struct.pack(">I", 8 + len(body)) + kind + body


def long_box(kind: bytes, *bodies: bytes) -> bytes:
    body = b"".join(bodies)
    return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body


def matrix(abcd: tuple[int, int, int, int]) -> bytes:
    a, b, c, d = (number << 16 for number in abcd)
    return struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)


def movie(abcd: tuple[int, int, int, int] = UPRIGHT, *, version: int = 0) -> bytes:
    times = 28 if version else 16
    return box(b"mvhd", bytes([version, 0, 0, 0]), bytes(times), bytes(16), matrix(abcd), bytes(28))


def track(number: int, abcd: tuple[int, int, int, int], *, version: int = 0) -> bytes:
    wide = "Q" if version else "I"
    times = struct.pack(f">{wide}{wide}II{wide}", 0, 0, number, 0, 0)
    return box(b"trak", box(b"tkhd", bytes([version, 0, 0, 7]), times, bytes(16), matrix(abcd), bytes(8)), box(b"mdia"))


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("wrap", [box, long_box])
def test_the_track_is_what_counts(version: int, wrap: type, tmp_path: Path) -> None:
    tracks = [
        track(1, UPRIGHT, version=version),
        track(2, MIRRORED, version=version),
        track(3, QUARTER, version=version),
    ]
    path = tmp_path / "a.mp4"
    path.write_bytes(box(b"ftyp", b"isom") + wrap(b"mdat", bytes(99)) + wrap(b"moov", movie(version=version), *tracks))
    assert [is_mirrored(path, number) for number in (1, 2, 3, 4)] == [False, True, False, False]


def test_a_mirrored_movie_mirrors_its_tracks(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(box(b"moov", movie(MIRRORED), track(1, UPRIGHT), track(2, MIRRORED)))
    assert [is_mirrored(tmp_path / "a.mp4", number) for number in (1, 2)] == [True, False]


def test_a_file_that_ends_before_its_matrix_is_upright(tmp_path: Path) -> None:
    whole = box(b"moov", movie(), track(1, MIRRORED))
    behind = 16 + 8 + 8  # the rest of the matrix, the sides of the track and an empty box
    for cut in range(len(whole)):
        (tmp_path / f"{cut}.mp4").write_bytes(whole[:cut])
        assert is_mirrored(tmp_path / f"{cut}.mp4", 1) == (cut >= len(whole) - behind), cut


@pytest.mark.parametrize(
    "data",
    [
        box(b"moov", box(b"tkhd"), box(b"mvhd", b"\1"), box(b"tkhd", bytes(30))),
        struct.pack(">I4s", 3, b"moov") + track(1, MIRRORED),
        struct.pack(">I4sQ", 1, b"moov", 4) + track(1, MIRRORED),
        struct.pack(">I4sQ", 1, b"free", 2**64 - 1) + track(1, MIRRORED),
        struct.pack(">I4s", 1, b"moov"),
    ],
)
def test_boxes_that_lie_about_their_length_are_passed_over(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    assert not is_mirrored(tmp_path / "a.mp4", 1)


def test_a_last_box_without_a_length_goes_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(struct.pack(">I4s", 0, b"moov") + movie() + track(1, MIRRORED))
    assert is_mirrored(tmp_path / "a.mp4", 1)


def test_millions_of_boxes_cost_little_time(tmp_path: Path) -> None:
    """Reading all two million would take over ten seconds."""
    (tmp_path / "a.mp4").write_bytes(box(b"free") * 2_000_000 + box(b"moov", movie(), track(1, MIRRORED)))
    started = time.process_time()
    assert not is_mirrored(tmp_path / "a.mp4", 1)
    assert time.process_time() - started < 2
