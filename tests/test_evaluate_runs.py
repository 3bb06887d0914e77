from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import plain_frame

from rtseg.datasets import DataSet
from rtseg.errors import ConfigError
from rtseg.evaluate.flicker import FlickerTally, unchanged
from rtseg.evaluate.models import find_cards, known_regions, region_masks
from rtseg.evaluate.plan import Alias, Options, Plan, make_plan, read_tables
from rtseg.evaluate.runs import asked_regions, chosen_stems, worst_of
from rtseg.evaluate.scores import RegionTally
from rtseg.store import find_card
from rtseg.types import Frame, Instances, Regions, Semantic, Size

PORTRAIT, ROAD, CITY = find_card("portrait"), find_card("road"), find_card("espnetv2-city")


def write_set(folder: Path, *, stems: tuple[str, ...] = ("a", "b", "c")) -> Path:
    """Grey pictures of 32x18 whose left half is the region."""
    mask = np.zeros((18, 32), np.uint8)
    mask[:, :16] = 255
    for kind, picture in (("images", np.full((18, 32, 3), 90, np.uint8)), ("masks", mask)):
        (folder / kind).mkdir(parents=True)
        for stem in stems:
            cv2.imwrite(str(folder / kind / f"{stem}.png"), picture)
    return folder


def half(*, value: int = 255, size: tuple[int, int] = (32, 18)) -> np.ndarray:
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[:, : size[0] // 2] = value
    return mask


def test_the_mask_of_a_network_is_enlarged_to_the_picture() -> None:
    tally = RegionTally("person")
    tally.add("a", half(size=(320, 180)), half(size=(32, 18)), np.full((180, 320), 255, np.uint8), Options())
    scores = tally.scores
    assert (scores.iou, scores.iou_mean, scores.accuracy, scores.boundary_f) == (1.0, 1.0, 1.0, 1.0)
    assert scores.line_f1 is None


def test_mean_and_median_are_over_pictures_and_the_rest_over_pixels() -> None:
    known = np.full((18, 32), 255, np.uint8)
    tally = RegionTally("person")
    tally.add("right", half(), half(), known, Options())
    tally.add("missed", half(), half() * 0, known, Options())
    tally.add("nothing", half() * 0, half() * 0, known, Options())
    scores = tally.scores
    assert scores.iou_mean == pytest.approx(2 / 3)
    assert scores.iou_median == 1.0
    assert scores.iou == 0.5
    assert scores.accuracy == pytest.approx(1 - 288 / (3 * 576))
    assert scores.mad == pytest.approx(288 / (3 * 576))
    assert [(picture.stem, picture.score) for picture in worst_of([tally])] == [("missed", 0.0), ("right", 1.0)]


def test_lines_are_measured_at_one_width_whatever_the_size_of_the_picture() -> None:
    for width in (320, 1280):
        truth, predicted = np.zeros((2, width // 2, width), np.uint8)
        scale = width / 640
        truth[:, : round(4 * scale)] = 255
        for away, wanted in ((4, 1.0), (30, 0.0)):
            predicted[:] = 0
            predicted[:, round((4 + away - 3) * scale) : round((4 + away) * scale)] = 255
            tally = RegionTally("lane", is_line=True)
            tally.add("a", truth, predicted, np.full(truth.shape, 255, np.uint8), Options())
            assert tally.scores.line_f1 == wanted
            assert tally.scores.boundary_f is None


def test_of_equal_scores_the_larger_mistake_is_worse() -> None:
    known = np.full((18, 32), 255, np.uint8)
    tally = RegionTally("person")
    small = np.zeros((18, 32), np.uint8)
    small[0, 0] = 255
    tally.add("small", small, small * 0, known, Options())
    tally.add("large", half(), half() * 0, known, Options())
    assert [picture.stem for picture in worst_of([tally])] == ["large", "small"]
    assert len(worst_of([tally, tally], many=2)) == 2


def test_a_limit_takes_pictures_from_all_over_the_set(tmp_path: Path) -> None:
    data = DataSet(folder=write_set(tmp_path, stems=tuple("abcdefgh")), regions={"person": ()})
    assert chosen_stems(data, "all", None) == list("abcdefgh")
    assert chosen_stems(data, "all", 4) == ["a", "c", "e", "g"]
    assert chosen_stems(data, "all", 100) == list("abcdefgh")


def test_classes_of_a_model_are_united_into_a_region() -> None:
    options = Options(alias=(Alias(region="person", names=("person", "rider", "no such class")),))
    wanted = known_regions(CITY, ["person", "car", "lane"], options)
    assert wanted == {"person": ("person", "rider"), "car": ("car",)}
    labels = np.array([[11, 12, 13, 255]], np.uint8)  # person, rider, car, none
    masks = region_masks(Semantic(labels, CITY.names, 0, Size(4, 1)), wanted)
    assert masks["person"].tolist() == [[255, 255, 0, 0]]
    assert masks["car"].tolist() == [[0, 0, 255, 0]]


def test_an_alias_for_one_model_is_not_for_others() -> None:
    options = Options(alias=(Alias(region="subject", names=("person",), models=("portrait",)),))
    assert options.names_for("subject", PORTRAIT) == ("person",)
    assert options.names_for("subject", CITY) == ()


def test_regions_that_a_result_does_not_show_are_empty() -> None:
    result = Regions(half()[None], ("person",), 0, Size(32, 18))
    assert region_masks(result, {"person": ("person",)})["person"].tolist() == half().tolist()
    none = Instances(
        np.zeros((0, 4, 4), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32),
        ("nucleus",), 0, Size(4, 4),
    )  # fmt: skip
    assert not region_masks(none, {"nucleus": ("nucleus",)})["nucleus"].any()


def test_a_recipe_is_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE", str(tmp_path))
    write_set(tmp_path / "faces")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "mine"\n[model]\nsize = [256, 144]\n'
        '[[data]]\nfolder = "${ELSEWHERE}/faces"\nregions = { person = [] }\nscene = "person"\n'
        '[[data]]\nname = "again"\nfolder = "faces"\nregions = { person = [] }\n'
        '[[clips]]\npath = "clip.mp4"\nevery = 3\nweight = 0.5\n'
        '[eval]\nboundary = 0.01\nalias = [{ region = "person", names = ["person"] }]\n'
    )
    plan = make_plan([recipe], [PORTRAIT], line_tolerance=3.0)
    assert [(data.title, data.folder) for data in plan.data] == [
        ("faces", tmp_path / "faces"),
        ("again", tmp_path / "faces"),
    ]
    assert plan.clips[0].path == tmp_path / "clip.mp4"
    assert (plan.options.boundary, plan.options.line_tolerance, plan.options.line_width) == (0.01, 3.0, 640)
    assert plan.options.alias[0].names == ("person",)


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELSEWHERE", raising=False)
    file = tmp_path / "plan.toml"
    file.write_text('[[data]]\nfolder = "${ELSEWHERE}/faces"\nregions = { person = [] }\n')
    with pytest.raises(ConfigError, match=r"\$\{ELSEWHERE\}, which is not set: export ELSEWHERE="):
        read_tables(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[data]", "is not a TOML file"),
        ("data = 3", r"data must be tables, \[\[data\]\], not 3"),
        ("eval = 3", r"eval must be a table, \[eval\], not 3"),
        ('[[data]]\nfolder = "x"\nregoins = {}', "regoins"),
        ('[eval]\ntolerance = 3\n[[clips]]\npath = "x"', "options.tolerance"),
        ("", "nothing to measure"),
        (2 * '[[data]]\nfolder = "x"\nregions = { person = [] }\n', "two sets are called x"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        make_plan([file], [PORTRAIT])


def test_a_folder_shows_the_region_that_all_models_give(tmp_path: Path) -> None:
    assert make_plan([tmp_path], [PORTRAIT, CITY]).data[0].regions == {"person": ()}
    with pytest.raises(ConfigError, match="does not say which region its masks show"):
        make_plan([tmp_path], [ROAD])


def test_a_model_is_given_once() -> None:
    with pytest.raises(ConfigError, match="two models are called portrait"):
        find_cards(["portrait", "road", "portrait"])


def test_every_benchmark_file_is_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSEG_SHARED", "/shared")
    files = sorted((Path(__file__).parent.parent / "benchmarks" / "eval").glob("*.toml"))
    assert {file.stem for file in files} >= {"portrait", "road", "nuclei"}
    for file in files:
        plan = make_plan([file], [PORTRAIT])
        assert all(data.folder.is_relative_to("/shared") for data in plan.data)


def test_the_benchmark_sets_have_pictures_to_measure(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSEG_SHARED", str(shared))
    for file in sorted((Path(__file__).parent.parent / "benchmarks" / "eval").glob("*.toml")):
        plan: Plan = make_plan([file], [PORTRAIT])
        assert any(data.stems("held_out") for data in plan.data)
        assert all(data.stems("all") for data in plan.data)
        assert all(clip.files for clip in plan.clips)
    road = make_plan([Path(__file__).parent.parent / "benchmarks" / "eval" / "road.toml"], [ROAD])
    sets = {data.title: data for data in road.data}
    seen = set(sets["camvid-train"].files)
    assert not seen & set(sets["camvid-lanes"].stems("held_out"))
    assert seen >= set(sets["camvid-lanes"].stems("train"))


def test_a_clip_without_videos_says_so(tmp_path: Path) -> None:
    plan = make_plan([], [PORTRAIT], clips=[tmp_path])
    with pytest.raises(ConfigError, match="no video and no folder of videos"):
        _ = plan.clips[0].files


def noise(seed: int, *, size: tuple[int, int] = (256, 144)) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8), np.uint8)
    return cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)


def framed(luma: np.ndarray, index: int) -> Frame:
    chroma = np.full((luma.shape[0] // 2, luma.shape[1] // 2), 128, np.uint8)
    return Frame((luma, chroma, chroma), index=index, pts=index)


def test_a_mask_that_never_changes_does_not_flicker() -> None:
    tally = FlickerTally()
    for index in range(4):
        tally.add(plain_frame(index, size=(256, 144)), half(size=(256, 144)))
    assert (tally.warp, tally.static, tally.frames) == (0.0, 0.0, 4)


def test_a_mask_that_blinks_where_nothing_moves_flickers_by_its_area() -> None:
    tally = FlickerTally()
    frame = framed(noise(1), 0)
    for index in range(5):
        tally.add(frame, half(value=255 * (index % 2), size=(256, 144)))
    assert tally.static == 500.0
    assert tally.warp == pytest.approx(500.0, abs=1.0)


def test_a_mask_that_moves_with_the_picture_flickers_little_when_moved_along() -> None:
    texture, mask = noise(2, size=(320, 144)), half(size=(320, 144))
    tally, still = FlickerTally(), FlickerTally()
    for index in range(5):
        cut = np.s_[:, 4 * index : 4 * index + 256]
        tally.add(framed(np.ascontiguousarray(texture[cut]), index), np.ascontiguousarray(mask[cut]))
        still.add(framed(np.ascontiguousarray(texture[:, :256]), index), np.ascontiguousarray(mask[cut]))
    assert tally.warp is not None
    assert still.warp is not None
    assert still.warp == pytest.approx(1000 * 4 / 256)
    assert tally.warp < 0.5 * still.warp  # flow of small planes is not exact at the edge


def test_one_frame_has_no_flicker() -> None:
    tally = FlickerTally()
    assert (tally.warp, tally.static) == (None, None)
    tally.add(plain_frame(), half())
    assert (tally.warp, tally.static) == (None, None)


def test_what_moves_and_its_surroundings_are_not_static() -> None:
    before = np.full((144, 256), 100, np.uint8)
    after = before.copy()
    after[50:60, 50:60] = 160
    still = unchanged(after, before)
    assert not still[48:62, 48:62].any()
    assert still[:40].all()
    assert unchanged(before + 1, before).all()  # less than two levels is the noise of a camera


def test_pictures_that_match_a_condition_are_told_once_more() -> None:
    known = np.full((18, 32), 255, np.uint8)
    tally = RegionTally("person")
    tally.add("night_1", half(), half(), known, Options())
    tally.add("night_2", half(), np.full((18, 32), 255, np.uint8), known, Options())
    tally.add("day_1", half(), half() * 0, known, Options())
    assert tally.scores.precision == pytest.approx(2 / 3)
    assert tally.scores.recall == pytest.approx(2 / 3)
    night = tally.under("night", re.compile("^night_"))
    assert night is not None
    assert (night.condition, night.recall) == ("night", 1.0)
    assert night.precision == pytest.approx(2 / 3)
    assert night.iou_mean == 0.75
    day = tally.under("day", re.compile("^day_"))
    assert day is not None
    assert (day.iou, day.precision, day.recall) == (0.0, None, 0.0)
    assert tally.under("rain", re.compile("rain")) is None


def test_a_condition_that_is_no_pattern_is_told(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    path = tmp_path / "set.toml"
    path.write_text(
        '[[data]]\nfolder = "set"\nregions = { person = [] }\n[eval.conditions]\nnight = "^(night"\n', encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="'night' has '\\^\\(night', which is no regular expression"):
        make_plan([path], [PORTRAIT])
    path.write_text(path.read_text().replace("^(night", "^a"))
    assert dict(make_plan([path], [PORTRAIT]).options.conditions) == {"night": "^a"}


def test_a_task_of_roads_takes_only_sets_that_label_its_region(tmp_path: Path) -> None:
    write_set(tmp_path / "road")
    write_set(tmp_path / "lines")
    path = tmp_path / "sets.toml"
    path.write_text(
        '[[data]]\nfolder = "road"\nkind = "index"\nregions = { drivable = [1], vehicle = [2] }\n'
        '[[data]]\nfolder = "lines"\nregions = { lane = [] }\n'
    )
    for task, title in (("drivable", "road"), ("lanes", "lines")):
        plan = make_plan([path], [ROAD], task=task)  # type: ignore[arg-type]
        assert [data.title for data in plan.sets] == [title]
    assert asked_regions(make_plan([path], [ROAD]).data[0], "drivable") == ["drivable"]
    assert asked_regions(make_plan([path], [ROAD]).data[0], None) == ["drivable", "vehicle"]
    path.write_text(path.read_text().replace("lane", "person").replace("drivable", "vulnerable"))
    for task in ("drivable", "lanes"):
        with pytest.raises(ConfigError, match=f"'road', 'lines' labels .*--task {task}"):
            make_plan([path], [ROAD], task=task)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="show no boxes of single obstacles"):
        make_plan([path], [ROAD], task="obstacles")
