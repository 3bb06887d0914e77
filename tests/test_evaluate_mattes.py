"""Mattes of pictures and of videos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import plain_frame
from segments import quiet, teller

from rtseg.datasets import DataSet
from rtseg.errors import ConfigError, SourceUnreadable
from rtseg.evaluate.footage import FootageSet
from rtseg.evaluate.mattes import MatteTally
from rtseg.evaluate.plan import Options, make_plan
from rtseg.evaluate.runs import score_footage, score_set
from rtseg.evaluate.worst import WorstPictures
from rtseg.ops.arrays import U8
from rtseg.ops.matte_errors import connectivity_error, gradient_error
from rtseg.sinks.video import VideoWriter
from rtseg.store import find_card
from rtseg.types import Frame, Output, Regions, Size

SIZE = Size(32, 18)
ALL = np.ones((18, 32), bool)
PORTRAIT = find_card("portrait")


def half(value: int) -> U8:
    matte = np.zeros((18, 32), np.uint8)
    matte[:, :16] = value
    return matte


def result(matte: U8) -> Regions:
    return Regions(matte[None], ("person",), 0, SIZE)


def write_pictures(folder: Path, mattes: list[U8]) -> Path:
    folder.mkdir(parents=True)
    for number, matte in enumerate(mattes):
        cv2.imwrite(str(folder / f"{number}.png"), matte)
    return folder


def test_errors_are_means_over_pictures_in_the_units_of_the_benchmarks() -> None:
    tally = MatteTally("person")
    assert tally.add(half(255), half(204), ALL) == pytest.approx(0.1)
    tally.add(half(255), half(255), ALL)
    scores = tally.scores
    assert scores.mad == pytest.approx(1e3 * 0.1 / 2)
    assert scores.mse == pytest.approx(1e3 * 0.02 / 2)
    assert scores.grad == pytest.approx(1e-3 * gradient_error(half(255), half(204), ALL) / 2)
    assert scores.conn == pytest.approx(1e-3 * connectivity_error(half(255), half(204), ALL) / 2)
    assert (scores.dtssd, scores.clips) == (None, 0)


def test_changes_are_those_within_a_clip_and_every_clip_weighs_the_same() -> None:
    tally = MatteTally("person")
    tally.begin_clip()
    for matte in (half(0), half(255), half(255)):  # the truth stays; changes 1, then 0, on half of the pixels
        tally.add(half(255), matte, ALL)
    tally.begin_clip()  # no change from the last frame of the other
    for _ in range(6):
        tally.add(half(255), half(0), ALL)
    scores = tally.scores
    assert scores.dtssd == pytest.approx(100 * np.sqrt(0.5) / 2 / 2)
    assert scores.clips == 2


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """Two clips of three frames, whose subject is the left half."""
    for stem in ("one", "two"):
        write_pictures(tmp_path / "videos" / stem, [np.full((18, 32, 3), 90, np.uint8)] * 3)
        write_pictures(tmp_path / "alphas" / stem, [half(255)] * 3)
    return tmp_path


def test_a_model_is_measured_on_every_frame_and_forgets_between_clips(footage: Path) -> None:
    plan = make_plan([footage], [PORTRAIT])
    (data,) = plan.mattes
    assert (data.title, data.region) == (footage.name, "person")
    mattes = [half(255)] * 2 + [half(0)] + [half(255)] * 3
    model = teller(("person",), [result(matte) for matte in mattes])
    ((scores, worst),) = score_footage([model], data, options=Options(), progress=quiet)
    assert (scores.pictures, scores.task, scores.kind) == (6, "matte", "footage")
    assert scores.matte is not None
    assert scores.matte.mad == pytest.approx(1e3 * 0.5 / 6)
    assert scores.matte.dtssd == pytest.approx(100 * np.sqrt(0.5) / 2 / 2)
    assert worst.captions == ["MAD x1000 500.0, one frame 2", "MAD x1000 0.0, two frame 0"]
    assert model.segmenter.resets == 2  # type: ignore[attr-defined]


def test_a_model_that_does_not_give_the_region_is_passed_over(footage: Path) -> None:
    data = FootageSet(videos=footage / "videos", alphas=footage / "alphas", region="cat")
    assert score_footage([teller(("person",), [])], data, options=Options(), progress=quiet) == []


def test_alphas_of_videos_are_grey_in_any_range_or_have_a_channel(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "alpha.mp4")
    for index in range(2):
        luma = np.where(half(255) > 0, np.uint8(235), np.uint8(16))  # limited range
        frame = plain_frame(index, size=SIZE)
        frame = frame.with_planes((luma, *frame.planes[1:]))
        writer.write(Output(frame, result(half(0)), (), frame))
    writer.close()
    video = write_pictures(tmp_path / "video", [np.full((18, 32, 3), 90, np.uint8)] * 2)
    cut_out = np.dstack([np.full((18, 32, 3), 90, np.uint8), half(255)])
    for alpha in (tmp_path / "alpha.mp4", write_pictures(tmp_path / "cut", [cut_out] * 2)):
        pairs = list(FootageSet(videos=video, alphas=alpha, region="person").read("video"))
        assert len(pairs) == 2
        # The video was encoded with loss; unstretched, its levels would be 16 and 235.
        assert all(cv2.absdiff(truth, half(255)).max() <= 4 for _, truth in pairs)


def test_videos_and_alphas_that_do_not_fit_are_named(footage: Path) -> None:
    def data() -> FootageSet:
        return FootageSet(videos=footage / "videos", alphas=footage / "alphas", region="person")

    (footage / "alphas" / "one" / "2.png").unlink()
    with pytest.raises(SourceUnreadable, match="ends after 2 frames, before"):
        list(data().read("one"))
    cv2.imwrite(str(footage / "alphas" / "one" / "2.png"), half(255))
    cv2.imwrite(str(footage / "alphas" / "one" / "3.png"), half(255))
    with pytest.raises(SourceUnreadable, match="ends before"):
        list(data().read("one"))
    cv2.imwrite(str(footage / "alphas" / "two" / "0.png"), half(255)[:9])
    with pytest.raises(SourceUnreadable, match=r"is 32x9, .* 32x18: an alpha must have the size"):
        list(data().read("two"))
    for path in (footage / "alphas" / "two").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match=r"alphas has no 'two'"):
        _ = data().clips


def alpha_set(folder: Path, truth: U8) -> Path:
    write_pictures(folder / "images", [np.full((18, 32, 3), 90, np.uint8)])
    write_pictures(folder / "alpha", [truth])
    return folder


def test_pictures_with_an_alpha_folder_are_mattes(tmp_path: Path) -> None:
    (data,) = make_plan([alpha_set(tmp_path, half(255))], [PORTRAIT]).data
    assert (data.kind, data.masks) == ("alpha", "alpha")
    model = teller(("person",), [result(half(204))])
    ((scores, worst),) = score_set([model], data, part="all", options=Options(), progress=quiet)
    assert scores.matte is not None
    assert scores.matte.mad == pytest.approx(100.0)
    assert scores.regions[0].iou == 1.0  # at a half there is nothing wrong
    assert worst.captions == ["MAD x1000 100.0, 0"]
    assert model.segmenter.resets == 1  # type: ignore[attr-defined]  # pictures are no stream


def test_the_task_says_what_the_masks_of_a_folder_are(tmp_path: Path) -> None:
    for task, kind in (("semantic", "binary"), ("instance", "instances"), ("matte", "alpha")):
        plan = make_plan([tmp_path], [PORTRAIT], task=task)  # type: ignore[arg-type]
        assert [data.kind for data in plan.data] == [kind]
    with pytest.raises(ConfigError, match="no panoptic segments: give --data a COCO panoptic JSON file"):
        make_plan([tmp_path], [PORTRAIT], task="panoptic")


def test_footage_serves_no_other_task(footage: Path) -> None:
    with pytest.raises(ConfigError, match="alphas of videos, so --task semantic cannot be measured"):
        make_plan([footage], [PORTRAIT], task="semantic")


def test_hard_masks_are_no_truth_for_mattes(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[[data]]\nfolder = "x"\nregions = { person = [] }\n')
    with pytest.raises(ConfigError, match=r"'x' has labels of kind 'binary', which show no soft alpha"):
        make_plan([plan], [PORTRAIT], task="matte")
    data = DataSet(folder=tmp_path, regions={"person": ()})
    assert data.kind == "binary"


def test_only_the_worst_are_kept_and_drawn() -> None:
    drawn: list[int] = []

    def panels(number: int) -> list[U8]:
        drawn.append(number)
        return [np.zeros((2, 2, 3), np.uint8)]

    worst = WorstPictures("legend", many=2)
    for number, score in enumerate((0.5, 0.3, 0.9, 0.3, 0.1)):
        worst.add(score, str(number), lambda number=number: panels(number))  # type: ignore[misc]
    assert worst.captions == ["4", "1"]
    assert drawn == [0, 1, 3, 4]  # the third number is no worse than those that were there


def test_of_a_clip_only_the_worst_frame_is_kept() -> None:
    worst = WorstPictures("legend", once=True)
    for score, clip in ((0.5, "a"), (0.7, "b"), (0.2, "a"), (0.3, "a")):
        worst.add(score, f"{clip} {score}", lambda: [np.zeros((2, 2, 3), np.uint8)], group=clip)
    assert worst.captions == ["a 0.2", "b 0.7"]


def test_frames_of_footage_are_limited(footage: Path) -> None:
    data = FootageSet(videos=footage / "videos", alphas=footage / "alphas", region="person", frames=2)
    frames = [frame for frame, _ in data.read("one")]
    assert len(frames) == 2
    assert all(isinstance(frame, Frame) for frame in frames)
