"""The programs beside rtseg: that each does its job, that they do the same, and that their times are told apart."""

from __future__ import annotations

import dataclasses
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import clips, peers, split
from benchmarks.job import Job
from benchmarks.measure import LoopFailed, run_child
from benchmarks.peers import Program, markdown, median_split, quotients, write_markdown
from benchmarks.shapes import detections, things
from benchmarks.split import Split, SplitMeter
from benchmarks.video import decode, picture_of

SIZE = (320, 180)


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def process_time(self) -> float:
        return self.now

    perf_counter = process_time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(split, "time", made)
    return made


def spend(meter: SplitMeter, clock: Clock, parts: dict[str, float], rest: float, *, counted: bool = True) -> None:
    with meter.frame(counted=counted):
        for name, seconds in parts.items():
            with meter.part(name):
                clock.now += seconds
        clock.now += rest


def test_outside_is_neither_the_network_nor_the_way_from_planes_and_back(clock: Clock) -> None:
    meter = SplitMeter()
    spend(meter, clock, {"network": 9.0}, 9.0, counted=False)
    for rest in (0.004, 0.002, 0.003):
        spend(meter, clock, {"unpack": 0.001, "network": 0.2, "tint": 0.01, "pack": 0.005}, rest)
    report = meter.report()
    assert report.frames == 3
    assert report.total == pytest.approx(219.0)
    assert report.network == pytest.approx(200.0)
    assert report.outside == pytest.approx(13.0)
    assert report.planes == pytest.approx(19.0)
    assert report.parts == pytest.approx({"pack": 5.0, "tint": 10.0, "unpack": 1.0})


def test_a_program_that_does_not_go_through_its_network_is_refused(clock: Clock) -> None:
    meter = SplitMeter()
    spend(meter, clock, {"network": 0.2}, 0.1)
    spend(meter, clock, {}, 0.1)
    with pytest.raises(ValueError, match="no time in the network"):
        meter.report()
    assert meter.report(network=False).frames == 2


def of(outside: float, planes: float = 0.0, network: float = 0.0) -> Split:
    return Split(2, outside + network, network, outside, planes or outside, {"tint": outside}, 1.0, 1.0, {"av": "18"})


OURS = Program("rtseg", "matting", "rtseg_matte", ours=True)
LOOP = Program("loop", "matting", "recurrent_matte")
ALONE = Program("torch", "detector 5", "detector_masks")


def test_others_are_divided_by_rtseg_at_the_same_job() -> None:
    assert quotients({OURS: of(2.0), LOOP: of(5.0, 8.0), ALONE: of(7.0)}) == {LOOP: (2.5, 4.0)}


def test_every_figure_has_a_median_of_its_own() -> None:
    middle = median_split([of(1.0, 9.0), of(2.0, 7.0), of(6.0, 8.0)])
    assert (middle.outside, middle.planes, middle.parts) == (2.0, 8.0, {"tint": 2.0})


def test_the_table_is_put_between_the_marks_of_the_readme_and_nowhere_else(tmp_path: Path) -> None:
    programs = [
        {"kind": "matting", "label": "loop", "median": dataclasses.asdict(of(5.0, 8.0, 20.0)), "quotients": (2.5, 4.0)},
        {"kind": "matting", "label": "rtseg", "median": dataclasses.asdict(of(2.0)), "quotients": ()},
    ]
    result: dict[str, Any] = {
        "title": "CPU-ms a frame",
        "machine": {"cores": "2", "cpu": "abacus", "commit": "abc"},
        "versions": "av 18",
        "load": {"warning": "loaded machine: a compiler."},
        "programs": programs,
        "skipped": {"supervision": "no pip"},
    }
    text = markdown(result)
    assert "| matting | loop | 25.0 | 20.0 | 5.0 | 8.0 | 2.5 | 4.0 |\n" in text
    assert "| matting | rtseg | 2.0 |  | 2.0 | 2.0 |  |  |\n" in text
    assert "2 cores of abacus, commit abc; av 18.\n\nMeasured on a loaded machine: a compiler.\nSkipped" in text
    path = tmp_path / "README.md"
    path.write_text("no marks")
    with pytest.raises(ValueError, match="lacks the lines <!-- peers"):
        write_markdown(path, text)
    assert path.read_text() == "no marks"
    path.write_text(f"before\n{peers.BEGIN}old\n{peers.END}\nafter")
    write_markdown(path, text)
    assert path.read_text() == f"before\n{peers.BEGIN}{text}{peers.END}\nafter"


def test_the_readme_of_the_benchmarks_has_a_table_of_peers() -> None:
    text = (Path(peers.__file__).with_name("README.md")).read_text()
    table = text.partition(peers.BEGIN)[2].partition(peers.END)[0]
    for program in peers.PROGRAMS:
        assert f"| {program.kind} | {program.label} | " in table


def test_a_detectors_tensors_become_the_masks_that_they_were_made_of() -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.loops.detector_masks import boxes_of, masks_of

    wanted = things(12, (640, 360))
    made = detections(wanted, (640, 360))
    boxes, labels, scores, coefficients = boxes_of(torch.from_numpy(made.rows))
    masks = masks_of(boxes, coefficients, torch.from_numpy(made.protos), (640, 360)).numpy()
    assert sorted(labels.tolist()) == wanted.labels.tolist()
    alike = []
    for mask, label, score in zip(masks, labels.tolist(), scores.tolist(), strict=True):
        assert score == pytest.approx(float(wanted.scores[label]), abs=0.05)
        both, either = mask & wanted.masks[label], mask | wanted.masks[label]
        alike.append(float(both.sum() / either.sum()))
    # Prototypes have a quarter of the square's pixels, and boxes are off by a few percent: small things suffer.
    assert min(alike) > 0.7 < 0.9 < sum(alike) / len(alike)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("peers")
    return Job(
        clip=str(clips.clip(folder, SIZE, 4, None)),
        output=str(folder),
        frames=2,
        width=SIZE[0],
        height=SIZE[1],
        rate=clips.RATE,
        background=str(clips.picture(folder, SIZE)),
        encoder={},
        model="",
        things=5,
    )


def outcome(name: str, job: Job) -> tuple[Split, Any]:
    """What a loop reports, and the last picture that it made."""
    still = Path(job.output) / f"{name}.png"
    made = Split(**json.loads(run_child(name, dataclasses.replace(job, still=str(still)))))
    return made, cv2.imread(str(still))


@pytest.fixture(scope="module")
def weights(job: Job) -> tuple[Path, Path]:
    """The same small SegFormer as a folder of transformers and as a card."""
    pytest.importorskip("transformers")
    from benchmarks.peer_models import segformer

    pictures = [picture_of(frame) for frame, _ in decode(job.clip, 4)]
    return segformer(Path(job.output), pictures, size="tiny", side=128)


@pytest.fixture(scope="module")
def reference(job: Job, weights: tuple[Path, Path]) -> tuple[Split, Any]:
    """What transformers' pipeline makes of them."""
    return outcome("transformers_pipeline", dataclasses.replace(job, model=str(weights[0])))


@pytest.mark.slow
@pytest.mark.timeout(300)  # imports of torch and transformers, three times: seconds, or minutes on a busy machine
def test_transformers_pipeline_is_timed_in_its_parts(reference: tuple[Split, Any]) -> None:
    made, _ = reference
    assert made.frames == 2
    assert made.network > 0 < made.outside
    assert set(made.parts) == {"classes", "preprocess", "tint", "unpack", "pack"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form"), [("transformers_careful", 0), ("rtseg_classes", 1)])
def test_the_same_weights_tint_the_same_classes_in_every_program(
    name: str, form: int, job: Job, weights: tuple[Path, Path], reference: tuple[Split, Any]
) -> None:
    _, expected = reference
    made, found = outcome(name, dataclasses.replace(job, model=str(weights[form])))
    assert made.frames == 2
    assert made.network > 0 < made.outside
    bare = picture_of(list(decode(job.clip, 2))[-1][0])
    tinted = np.abs(expected.astype(int) - np.asarray(bare)[..., ::-1]).mean()
    # Borders differ: in steps, or soft, where the pipeline enlarges the scores of all classes.
    assert np.abs(found.astype(int) - expected).mean() < 0.35 * tinted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "package", "parts"),
    [
        ("rtseg_masks", "rtseg", {"effect", "composite"}),
        ("rtseg_matte", "rtseg", {"effect", "composite"}),
        ("recurrent_matte", "torch", {"unpack", "tensor", "composite", "write", "pack"}),
        ("detector_masks", "torch", {"boxes", "masks"}),
        ("rtseg_detector", "rtseg", {"instances", "masks"}),
        ("supervision_masks", "supervision", {"unpack", "masks", "labels", "pack"}),
    ],
)
def test_each_program_makes_its_frames(name: str, package: str, parts: set[str], job: Job) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed here: benchmarks.peers makes an environment for it")
    made, picture = outcome(name, job)
    assert made.frames == 2
    assert set(made.parts) == parts
    assert picture.shape == (180, 320, 3)
    assert picture.std() > 10


def test_a_program_that_loses_frames_is_not_compared(monkeypatch: pytest.MonkeyPatch, job: Job) -> None:
    lost = json.dumps(dataclasses.asdict(of(2.0)) | {"frames": 1})
    monkeypatch.setattr(peers, "run_child", lambda *_arguments, **_more: lost)
    with pytest.raises(LoopFailed, match="made 1 frames of 2"):
        peers.measure([OURS], {OURS: job}, rounds=1, pythons={})
