"""Files that are broken, cut off, or no video at all: a typed error, or the frames that are left and a count."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from footage import in_child, moving, open_files, write_video

from rtseg.errors import SourceError, SourceNotFound, SourceUnreadable
from rtseg.sources.video import VideoFile
from rtseg.stats import LOSSES

LIGHT = {"preset": "ultrafast", "g": "10", "qp": "30"}
FRONT = {"movflags": "+faststart"}
FRAGMENTS = {"movflags": "+frag_keyframe+empty_moov+default_base_moof"}
COUNT = 60


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def losses(source: VideoFile) -> dict[str, int]:
    return {cause: count for cause, count in source.counts.items() if cause in LOSSES and count}


class TestCutOff:
    @pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv", "avi", "mov"])
    def test_a_whole_file_has_lost_nothing(self, suffix: str, tmp_path: Path) -> None:
        source = VideoFile(write_video(tmp_path / f"a.{suffix}", moving(COUNT), options=LIGHT))
        assert len(list(source)) == COUNT
        assert losses(source) == {}

    @pytest.mark.parametrize(
        ("suffix", "container"), [("mp4", FRONT), ("mov", FRONT), ("mp4", FRAGMENTS)], ids=["mp4", "mov", "fragments"]
    )
    @pytest.mark.parametrize("share", [0.6, 0.9])
    def test_an_mp4_tells_how_many_frames_lie_behind_its_end(
        self, suffix: str, container: dict[str, str], share: float, tmp_path: Path
    ) -> None:
        path = write_video(tmp_path / f"a.{suffix}", moving(COUNT), options=LIGHT, container=container)
        source = VideoFile(cut(path, share))
        frames = list(source)
        assert COUNT * (share - 0.1) < len(frames) <= COUNT * share
        assert losses(source)["missing_frames"] > 0
        if container is FRONT:
            assert losses(source)["missing_frames"] == COUNT - len(frames)

    @pytest.mark.parametrize("suffix", ["mkv", "flv", "avi"])
    def test_other_files_that_were_cut_off_are_not_called_whole(self, suffix: str, tmp_path: Path) -> None:
        """MPEG-TS is made to be cut anywhere: nothing tells."""
        path = write_video(tmp_path / f"a.{suffix}", moving(COUNT), options=LIGHT)
        source = VideoFile(cut(path, 0.6))
        frames = list(source)
        assert COUNT * 0.5 < len(frames) < COUNT * 0.7
        assert losses(source)

    def test_frames_behind_the_end_of_the_cut_are_not_missed(self, tmp_path: Path) -> None:
        path = cut(write_video(tmp_path / "a.mp4", moving(COUNT), options=LIGHT, container=FRONT), 0.6)
        inside, across = VideoFile(path, end=1.0), VideoFile(path, end=1.5)
        assert len(list(inside)) == 30
        assert losses(inside) == {}
        frames = list(across)
        assert losses(across)["missing_frames"] == 45 - len(frames)

    def test_an_mp4_whose_index_is_lost_is_refused(self, tmp_path: Path) -> None:
        path = cut(write_video(tmp_path / "a.mp4", moving(COUNT), options=LIGHT), 0.6)
        with pytest.raises(SourceUnreadable, match=r"a\.mp4"):
            VideoFile(path)

    def test_a_live_recording_that_does_not_know_its_length_is_whole(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mkv", moving(COUNT), options=LIGHT, container={"live": "1"})
        source = VideoFile(path)
        assert len(list(source)) == COUNT
        assert losses(source) == {}

    def test_a_wrong_number_of_frames_in_the_header_is_no_loss(self, shared: Path) -> None:
        """Edit lists leave frames out of 5 and 13; an AVI claims 59 of 58."""
        for name in ("dolbyVision-hdr.MOV", "iibbibb_editlist_videoonly.mp4", "sample-with-large-length.avi"):
            (path,) = (shared / "corpus").rglob(name)
            source = VideoFile(path)
            assert source.info.frames is not None
            assert 0 < len(list(source)) < source.info.frames
            assert losses(source) == {}


class TestCorruption:
    def test_noise_in_one_packet_costs_no_other_picture_its_place(self, tmp_path: Path) -> None:
        pictures = moving(20)
        path = write_video(tmp_path / "a.avi", pictures, codec="mjpeg", pix_fmt="yuvj420p", options={})
        whole = list(VideoFile(path))
        with av.open(str(path)) as container:
            places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
        data = bytearray(path.read_bytes())
        start, size = places[7]
        assert start is not None
        data[start : start + size] = bytes(size)
        path.write_bytes(data)
        source = VideoFile(path)
        frames = list(source)
        assert losses(source) == {"corrupt_packets": 1}
        assert [frame.pts for frame in frames] == [frame.pts for frame in whole if frame.index != 7]
        kept = [frame.planes for frame in whole if frame.index != 7]
        assert all(np.array_equal(f.planes[0], planes[0]) for f, planes in zip(frames, kept, strict=True))

    def test_frames_that_the_decoder_had_to_guess_at_are_counted(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", moving(20), options=LIGHT)
        with av.open(str(path)) as container:
            places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
        data = bytearray(path.read_bytes())
        start, size = places[5]
        assert start is not None
        data[start + size // 2 : start + size] = np.random.default_rng(0).bytes(size - size // 2)
        path.write_bytes(data)
        source = VideoFile(path)
        assert len(list(source)) == 20
        assert losses(source).keys() == {"damaged_frames"}

    def test_damage_that_a_cut_cannot_show_is_not_counted(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", moving(30), options=LIGHT)
        with av.open(str(path)) as container:
            places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
        data = bytearray(path.read_bytes())
        start, size = places[12]  # seen until the next key frame, 20
        assert start is not None
        data[start + size // 2 : start + size] = np.random.default_rng(0).bytes(size - size // 2)
        path.write_bytes(data)
        for begin, end, damaged in ((None, 0.4, False), (0.3, 0.5, True), (0.45, 0.6, True), (0.67, None, False)):
            source = VideoFile(path, start=begin, end=end)
            assert len(list(source)) > 0
            assert bool(losses(source)) == damaged, (begin, end)

    def test_mutated_files_end_as_whole_partial_or_refused(self, tmp_path: Path) -> None:
        """In a child, since a decoder that crashed would take the tests with it."""
        for suffix, codec, pix_fmt in (
            ("mp4", "libx264", "yuv420p"),
            ("mkv", "libx264", "yuv420p"),
            ("ts", "libx264", "yuv420p"),
            ("avi", "mjpeg", "yuvj420p"),
            ("webm", "libvpx", "yuv420p"),
        ):
            options = LIGHT if codec == "libx264" else {}
            write_video(tmp_path / f"a.{suffix}", moving(12), codec=codec, pix_fmt=pix_fmt, options=options)
        ends = json.loads(in_child(MUTATE, str(tmp_path), "50"))
        assert len(ends) == 5 * 50
        kinds = {end["kind"] for end in ends}
        assert kinds == {"whole", "partial", "refused"}
        mp4s = [end for end in ends if end["file"] == "a.mp4"]
        assert not [end for end in mp4s if end["kind"] == "whole" and end["frames"] < 12]


MUTATE = """
import json, logging, sys
from pathlib import Path
import numpy as np
from rtseg.errors import RtsegError
from rtseg.sources.video import VideoFile
from rtseg.stats import LOSSES
logging.disable(logging.CRITICAL)
folder, count, random, ends = Path(sys.argv[1]), int(sys.argv[2]), np.random.default_rng(5), []
for path in sorted(folder.glob("a.*")):
    whole = path.read_bytes()
    for number in range(count):
        data = np.frombuffer(whole, np.uint8).copy()
        places = random.integers(0, data.size, random.integers(1, 8))
        data[places] = random.integers(0, 256, places.size)
        path.write_bytes(data[: data.size if number % 3 else random.integers(data.size)])
        end = {"file": path.name, "number": number, "kind": "refused"}
        try:
            source = VideoFile(path)
            end["frames"] = sum(1 for _ in source)
            end["kind"] = "partial" if any(source.counts.get(cause) for cause in LOSSES) else "whole"
        except RtsegError:
            pass
        except BaseException as error:
            end["kind"] = repr(error)
        ends.append(end)
print(json.dumps(ends))
"""


def _directory(path: Path) -> None:
    path.mkdir()


def _text(path: Path) -> None:
    path.write_text("This is no video.\n" * 50)


def _nothing(path: Path) -> None:
    path.write_bytes(b"")


def _audio(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48_000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))


def _head(path: Path) -> None:
    write_video(path, moving(5), container=FRAGMENTS)
    path.write_bytes(path.read_bytes().split(b"moof")[0][:-4])


def _pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(_directory, "no regular file", id="folder"),
        pytest.param(_pipe, "no regular file", id="pipe that nobody writes to"),
        pytest.param(_text, "nothing that FFmpeg can read", id="text"),
        pytest.param(_nothing, "empty", id="empty"),
        pytest.param(_audio, "has no video, only audio", id="audio"),
        pytest.param(_head, "gives no frame", id="head of a video"),
    ],
)
def test_what_is_no_video_is_refused_with_a_reason(make: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make(path)
    for end in (None, 1.0):
        before = open_files()
        with pytest.raises(SourceUnreadable, match=says) as caught:
            VideoFile(path, end=end)
        assert str(path) in str(caught.value)
        assert open_files() == before


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "a.mp4", tmp_path / "a" / "b.mp4", tmp_path / ("long" * 100)):
        with pytest.raises(SourceError) as caught:
            VideoFile(path)
        assert path.name in str(caught.value)
    with pytest.raises(SourceNotFound):
        VideoFile(tmp_path / "a.mp4")


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", moving(1))

    def deny(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)  # the tests may run as root, whom no permission keeps out
    with pytest.raises(SourceUnreadable, match="Permission denied"):
        VideoFile(path)


@pytest.mark.parametrize(
    "name",
    [
        "invalid-bitstream.webm",
        "subsample_encrypted_altref.webm",
        "sample_fragmented_widevine.mp4",
        "video_dovi_3840x2160_30fps_dav1_10.mp4",
        "segment_init.mp4",
        "sample_audio_only.mp4",
    ],
)
def test_corrupt_encrypted_unknown_and_audio_files_are_refused_also_when_cut(name: str, shared: Path) -> None:
    (path,) = (shared / "corpus").rglob(name)
    for end in (None, 1.0):
        with pytest.raises(SourceUnreadable):
            VideoFile(path, end=end)


def test_a_partly_encrypted_file_is_not_called_whole(shared: Path) -> None:
    (path,) = (shared / "corpus").rglob("cbcs.mp4")
    source = VideoFile(path)
    for frame in source:
        if frame.index == 40:
            break
    source.close()
    assert losses(source)
