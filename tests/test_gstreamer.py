"""The element `rtseg` in pipelines of GStreamer, as anybody starts them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fakes import ListSink
from footage import write_video
from numpy.typing import NDArray

from rtseg.build import build
from rtseg.options import configure

ROOT = Path(__file__).resolve().parents[1]
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
BARS = "videotestsrc num-buffers={count} pattern={pattern} ! video/x-raw,format={format},width={width},height={height}"
FIRST = "identity eos-after=33"

pytestmark = pytest.mark.slow


def missing(reason: str) -> None:
    """Skip on a user's machine; fail where RTSEG_REQUIRE says that it must be there."""
    if "gstreamer" in os.environ.get("RTSEG_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What `rtseg gstreamer` says, with a registry of plug-ins of the tests' own and no virtual environment."""
    if shutil.which("gst-launch-1.0", path=SYSTEM_PATH) is None:
        missing("GStreamer's tools are not installed")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "VIRTUAL_ENV"))}
    kept |= {"PATH": SYSTEM_PATH, "GST_REGISTRY": str(tmp_path_factory.mktemp("gst") / "registry.bin")}
    kept.pop("PYTHONPATH", None)
    told = subprocess.run([sys.executable, "-m", "rtseg", "gstreamer"], cwd=ROOT, capture_output=True, text=True)
    if told.returncode:
        missing(told.stderr.strip())
    paths = subprocess.run(
        ["sh", "-c", f"{told.stdout}\nenv -0"], env=kept, capture_output=True, text=True, check=True
    ).stdout
    return dict(line.split("=", 1) for line in paths.split("\0") if "=" in line)


def launch(environment: Mapping[str, str], pipeline: str, *, ends: int = 0, folder: Path = ROOT) -> str:
    """Run a pipeline with gst-launch-1.0; what it says."""
    done = subprocess.run(
        f"gst-launch-1.0 {pipeline}",
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert (done.returncode == 0) == (ends == 0), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def play(environment: Mapping[str, str], pipeline: str, changes: list[list[Any]] | None = None) -> dict[str, Any]:
    """Run a pipeline and change properties on the way; see tests/playing.py."""
    done = subprocess.run(
        ["/usr/bin/python3", str(ROOT / "tests/playing.py"), pipeline, json.dumps(changes or [])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return dict(json.loads(done.stdout))


def bars(count: int = 8, *, pattern: str = "white", format: str = "I420", size: tuple[int, int] = (64, 48)) -> str:  # noqa: A002
    return BARS.format(count=count, pattern=pattern, format=format, width=size[0], height=size[1])


def raw_pictures(path: Path, format: str, size: tuple[int, int]) -> list[list[NDArray[np.uint8]]]:  # noqa: A002
    """Pictures of even sizes as GStreamer's filesink writes them; the sides here need no padding."""
    width, height = size
    pictures = []
    for one in np.fromfile(path, np.uint8).reshape(-1, width * height * 3 // 2):
        y, rest = one[: width * height].reshape(height, width), one[width * height :]
        pairs = rest.reshape(2, -1) if format == "I420" else rest.reshape(-1, 2).T
        pictures.append([y, *(chroma.reshape(height // 2, width // 2) for chroma in pairs)])
    return pictures


@pytest.mark.parametrize(
    ("clip", "options"),
    [
        ("outdoor_thoughtful.mp4", "background=blur"),
        ("sign_yes.mkv", "background=#00ff00"),  # full range
        ("sign_yes.mkv", "overlay=road"),
    ],
)
def test_the_element_gives_what_run_gives_to_the_last_bit(
    shared: Path, environment: Mapping[str, str], tmp_path: Path, clip: str, options: str
) -> None:
    """FFmpeg decodes on both sides, which is exact by H.264's rules, so nothing may differ."""
    path = shared / "clips/people" / clip
    word, value = options.split("=", 1)
    sink = ListSink()
    build(configure(path, end=1.0, **{word: value}), more_sinks=[sink]).run()  # type: ignore[arg-type]
    wanted = [output.picture for output in sink.outputs]
    demux = "qtdemux" if clip.endswith("mp4") else "matroskademux"
    decoded = f"-q filesrc location={path} ! {demux} ! h264parse ! avdec_h264 ! {FIRST}"
    launch(environment, f"{decoded} ! rtseg {options} ! filesink location={tmp_path}/out")
    got = raw_pictures(tmp_path / "out", "I420", wanted[0].size)
    assert len(got) >= len(wanted) > 20, "the second that is compared"
    for number, (planes, picture) in enumerate(zip(got, wanted, strict=False)):
        for plane, other in zip(planes, picture.planes, strict=True):
            np.testing.assert_array_equal(plane, other, err_msg=f"picture {number}")


def test_nv12_is_the_same_picture(shared: Path, environment: Mapping[str, str], tmp_path: Path) -> None:
    path = shared / "clips/people/outdoor_thoughtful.mp4"
    decoded = f"-q filesrc location={path} ! qtdemux ! h264parse ! avdec_h264 ! {FIRST}"
    nv12 = "video/x-raw,format=NV12"
    launch(environment, f"{decoded} ! rtseg ! filesink location={tmp_path}/i420")
    launch(environment, f"{decoded} ! videoconvert ! {nv12} ! rtseg ! {nv12} ! filesink location={tmp_path}/nv12")
    one, other = (raw_pictures(tmp_path / name.lower(), name, (640, 360)) for name in ("I420", "NV12"))
    assert len(one) == len(other) > 20
    for planes, same in zip(one, other, strict=True):
        for plane, equal in zip(planes, same, strict=True):
            np.testing.assert_array_equal(plane, equal)


def test_times_that_are_not_even_are_kept(environment: Mapping[str, str], tmp_path: Path) -> None:
    pts = [0, 1, 4, 5, 11]
    grey = [np.full(shape, 128, np.uint8) for shape in ((48, 64), (24, 32), (24, 32))]
    path = write_video(tmp_path / "vfr.mkv", [tuple(grey)] * 5, codec="ffv1", options={}, pts=pts)
    with av.open(str(path)) as container:
        wanted = [round(frame.time * 1e9) for frame in container.decode(video=0) if frame.time is not None]
    decoded = f"filesrc location={path} ! matroskademux ! avdec_ffv1"
    played = play(environment, f"{decoded} ! rtseg name=it ! appsink name=out sync=false")
    assert [picture[0] for picture in played["pictures"]] == wanted
    assert len(set(np.diff(wanted))) > 1


@pytest.mark.parametrize("size", [(50, 34), (63, 35), (322, 182)])
def test_lines_with_padding_and_odd_sides_are_read_right(
    environment: Mapping[str, str], tmp_path: Path, size: tuple[int, int]
) -> None:
    """FFmpeg's decoder leaves its padding where it is told that it may, which puts a GstVideoMeta on each buffer."""
    width, height = size
    source = f"videotestsrc num-buffers=3 pattern=smpte ! video/x-raw,format=I420,width={width},height={height}"
    launch(environment, f"-q {source} ! avenc_ffv1 ! matroskamux ! filesink location={tmp_path}/clip.mkv")
    decoded = f"filesrc location={tmp_path}/clip.mkv ! matroskademux ! avdec_ffv1"
    through = play(environment, f"{decoded} ! rtseg name=it background=none ! appsink name=out sync=false")
    direct = play(environment, f"{decoded} ! appsink name=out sync=false")
    assert through["pictures"] == direct["pictures"]
    assert len(through["pictures"]) == 3


@pytest.mark.parametrize("format", ["I420", "NV12"])
def test_properties_change_while_it_plays(environment: Mapping[str, str], format: str) -> None:  # noqa: A002
    played = play(
        environment,
        f"{bars(format=format)},colorimetry=bt601 ! rtseg name=it background=#ff0000 ! "
        "appsink name=out sync=false max-buffers=1",
        [[2, "background", "#0000ff"], [5, "slate", True]],
    )
    red, blue = [81, 90, 240], [41, 240, 110]  # BT.601, limited range
    pictures = [[round(level) for level in picture[1:]] for picture in played["pictures"]]
    assert pictures[0] == red
    assert pictures[4] == blue
    assert pictures[7][1:] == [128, 128]
    assert played["messages"] == []


def test_the_colorimetry_of_the_caps_decides(environment: Mapping[str, str]) -> None:
    levels = {}
    for name in ("bt601", "bt709", "1:4:0:0"):
        source = f"videotestsrc num-buffers=1 ! video/x-raw,format=I420,width=64,height=48,colorimetry={name}"
        played = play(environment, f"{source} ! rtseg name=it background=#ff0000 ! appsink name=out sync=false")
        levels[name] = [round(level) for level in played["pictures"][0][1:]]
    assert levels == {"bt601": [81, 90, 240], "bt709": [63, 102, 240], "1:4:0:0": [76, 85, 255]}


def test_a_wish_that_cannot_be_is_a_warning_and_changes_nothing(environment: Mapping[str, str]) -> None:
    played = play(
        environment,
        f"{bars()} ! rtseg name=it background=#ff0000 ! appsink name=out sync=false max-buffers=1",
        [[1, "background", "missing.png"], [3, "model", "portait"], [5, "overlay", "nobody"]],
    )
    assert len({tuple(picture[1:]) for picture in played["pictures"]}) == 1
    kinds, texts = zip(*played["messages"], strict=True)
    assert kinds == ("warning",) * 3
    assert "background stays as it was: missing.png does not exist" in texts[0]
    assert "did you mean portrait" in texts[1]
    assert "overlay stays as it was" in texts[2]
    assert played["pictures"].__len__() == 8


def test_another_model_comes_while_it_plays(environment: Mapping[str, str]) -> None:
    played = play(
        environment,
        f"{bars()} ! rtseg name=it background=#ff0000 ! appsink name=out sync=false max-buffers=1",
        [[2, "model", "portrait-fast"], [4, "threads", 2], [6, "adaptive", True]],
    )
    assert len(played["pictures"]) == 8
    assert played["messages"] == []


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ("model=portait", "did you mean portrait"),
        ("background=missing.png", "missing.png does not exist"),
        ("background=none overlay=nobody", "has no 'nobody'"),
    ],
)
def test_what_cannot_be_opened_is_one_line_of_the_element(
    environment: Mapping[str, str], properties: str, says: str
) -> None:
    said = launch(environment, f"{bars()} ! rtseg {properties} ! fakesink", ends=1)
    (line,) = [line for line in said.splitlines() if line.startswith("ERROR: from element")]
    assert says in line
    assert "Rtseg:rtseg0" in line


def test_a_live_pipeline_learns_that_a_frame_takes_its_time(environment: Mapping[str, str]) -> None:
    source = "videotestsrc is-live=true num-buffers=4 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1"
    with_element = play(environment, f"{source} ! rtseg name=it ! appsink name=out")
    without = play(environment, f"{source} ! appsink name=out")
    assert with_element["latency"][0] is without["latency"][0] is True
    assert with_element["latency"][1] - without["latency"][1] == 40_000_000


def test_a_thousand_frames_leave_nothing_behind(environment: Mapping[str, str]) -> None:
    played = play(
        environment,
        f"{bars(1200, pattern='ball', size=(320, 240))} ! rtseg name=it background=blur ! "
        "appsink name=out sync=false max-buffers=2",
    )
    assert len(played["pictures"]) == 1200
    assert played["grown"] < 3_000_000, "26 frames, of a thousand"


def test_an_active_virtual_environment_changes_nothing(environment: Mapping[str, str]) -> None:
    active = {**environment, "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}"}
    active["GST_REGISTRY"] += ".active"
    assert (
        "Video segmentation"
        in subprocess.run(["gst-inspect-1.0", "rtseg"], env=active, capture_output=True, text=True, check=True).stdout
    )


def test_a_frozen_picture_is_the_one_that_was_there(environment: Mapping[str, str]) -> None:
    """It lies in a buffer of the source's, which must not be used again meanwhile."""
    played = play(
        environment,
        f"{bars(12, pattern='ball')} ! rtseg name=it background=none ! appsink name=out sync=false max-buffers=1",
        [[3, "freeze", True]],
    )
    levels = [tuple(picture[1:]) for picture in played["pictures"]]
    assert len(set(levels[:3])) == 3
    assert len(set(levels[6:])) == 1
    assert len({picture[0] for picture in played["pictures"]}) == 12, "its time goes on"


def test_the_pipelines_of_the_documentation_play(environment: Mapping[str, str], tmp_path: Path) -> None:
    source = "videotestsrc num-buffers=5 ! video/x-raw,width=64,height=48 ! x264enc ! mp4mux"
    launch(environment, f"-q {source} ! filesink location={tmp_path}/in.mp4")
    text = (ROOT / "docs/embedding.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("gst-launch-1.0 filesrc")]
    for line in lines:
        launch(environment, line.removeprefix("gst-launch-1.0 "), folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "blurred.mp4", "road.y4m"}
    with av.open(str(tmp_path / "blurred.mp4")) as container:
        assert len(list(container.decode(video=0))) == 5


def test_what_is_late_already_is_dropped_where_the_sink_says_so(environment: Mapping[str, str]) -> None:
    source = "videotestsrc num-buffers=100 ! video/x-raw,format=I420,width=320,height=240,framerate=5000/1"
    for qos in (True, False):
        played = play(
            environment, f"{source} ! rtseg name=it qos={str(qos).lower()} ! appsink name=out sync=true qos=true"
        )
        assert (len(played["pictures"]) < 100) is qos


def test_nothing_of_gstreamer_is_alive_at_the_end(environment: Mapping[str, str]) -> None:
    """Buffers above all, which frames hold: GStreamer's own tracer counts what was not given back."""
    tracing = {**environment, "GST_TRACERS": "leaks", "GST_DEBUG": "GST_TRACER:7", "GST_DEBUG_NO_COLOR": "1"}
    said = launch(tracing, f"-q {bars(20, pattern='ball')} ! rtseg ! fakesink")
    assert "GST_TRACER" in said
    assert re.findall(r"object-alive, type-name=\(string\)(\w+)", said) == []


def test_after_a_fault_cards_leave_and_not_the_room(environment: Mapping[str, str]) -> None:
    played = play(
        environment,
        f"{bars(12, pattern='red')} ! rtseg name=it background=#00ff00 ! appsink name=out sync=false max-buffers=1",
        [[3, "fault", 0]],
    )
    chroma = [tuple(round(level) for level in picture[2:]) for picture in played["pictures"]]
    green, card = chroma[0], (128, 128)
    assert set(chroma) == {green, card}
    assert chroma[-1] == card
    assert played["messages"] == [["warning", "no mask, so nothing is shown: a bug"]]


def test_the_size_may_change_on_the_way(environment: Mapping[str, str]) -> None:
    parts = " ".join(f"{bars(3, size=size)} ! one." for size in ((64, 48), (81, 61), (64, 48)))
    played = play(
        environment, f"concat name=one ! rtseg name=it background=#ff0000 ! appsink name=out sync=false {parts}"
    )
    assert [[round(level) for level in picture[2:]] for picture in played["pictures"]] == [[90, 240]] * 9
    assert played["messages"] == []


def test_a_python_without_rtseg_is_told_which_and_what_to_do(environment: Mapping[str, str]) -> None:
    bare = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    said = launch(bare, f"{bars()} ! rtseg ! fakesink", ends=1)
    (line,) = [line for line in said.splitlines() if line.startswith("ERROR: from element")]
    assert re.search(r"GStreamer's Python 3\.\d+ cannot import rtseg: .*eval", line)
