from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.quality import main
from benchmarks.quality_methods import method, mixed
from benchmarks.quality_people import PEOPLE, Cutout, Person, cutout
from benchmarks.quality_scenes import CHECKED, Character, Motion, Scene, Shot, composed, exposed, levels, render
from benchmarks.quality_scores import GREEN, Scores, Tally, blurred_around, halo_band, plain_composite, true_composite
from benchmarks.quality_store import TRUTH, Networks, masks
from rtseg.api import load_pipeline
from rtseg.datasets import DataSet
from rtseg.errors import ConfigError
from rtseg.ops.arrays import U8
from rtseg.ops.resize import enlarge
from rtseg.sources.sample import Sample
from rtseg.types import Frame, Regions, Size, Solid, masks_of

SIZE = Size(160, 92)


def drawn() -> tuple[U8, U8]:
    """A photograph RGB of a head and shoulders, reds before blue, and its label, which is a pixel too wide."""
    y, x = np.mgrid[0:120, 0:160]
    head = (x - 80) ** 2 + (y - 40) ** 2 < 20**2
    body = (np.abs(x - 80) < 34) & (y > 66)
    inside = np.where(head | body, np.uint8(255), np.uint8(0))
    label = np.asarray(cv2.dilate(inside, np.ones((3, 3), np.uint8)), np.uint8)
    rgb = np.where((inside > 0)[..., None], np.dstack([140 + x // 2, 40 + y // 2, 30 + 0 * x]), (0, 0, 250))
    return rgb.astype(np.uint8), label


def person() -> Cutout:
    return cutout(*drawn(), SIZE, tall=0.8, soft=4.0)


def shot(motion: Motion, character: Character, *, frames: int = 17, backdrop: U8 | None = None, **more: float) -> Shot:
    fields = {"noise": 0.0, "drift": 0.0, "bitrate": 0} | more
    scene = Scene("drawn", motion, character, Person("", ""), "", frames=frames, **fields)  # type: ignore[arg-type]
    room = np.full((*SIZE[::-1], 3), (20, 90, 60), np.uint8) if backdrop is None else backdrop
    return render(scene, person(), [room], SIZE)


def scored(made: Shot, alphas: U8 | NDArray[np.uint8]) -> Scores:
    tally = Tally(made)
    for index, alpha in enumerate(alphas):
        tally.add(index, alpha)
        if index % CHECKED == 0:
            green = np.full((*SIZE[::-1], 3), GREEN, np.uint8)
            tally.add_halo(
                "halo_green",
                index,
                plain_composite(made.frames[index].rgb, alpha, green),
                true_composite(made, index, green),
            )
    return tally.scores


def test_a_cutout_has_no_colour_of_its_old_background() -> None:
    made = person()
    assert made.colour[made.alpha > 0][:, 2].max() < 40
    assert made.alpha.max() == 1.0
    assert ((made.alpha > 0.1) & (made.alpha < 0.9)).any()


@pytest.mark.parametrize("motion", ["still", "translate", "scale", "rotate", "wave", "arm"])
def test_a_frame_is_the_composite_of_its_alpha_within_rounding(motion: Motion) -> None:
    made = shot(motion, "still" if motion == "still" else "fast", frames=9)
    room = np.full((*SIZE[::-1], 3), (20, 90, 60), np.uint8)
    for index in (0, 4, 8):
        rebuilt = true_composite(made, index, room)
        weights = np.array([0.2126, 0.7152, 0.0722])
        luma = 16 + 219 / 255 * (rebuilt @ weights)
        assert np.abs(made.frames[index].planes[0] - luma).max() <= 2.0
        assert made.alphas[index].max() == 255


def test_a_still_person_is_unchanged_and_a_moving_one_is_not() -> None:
    assert shot("still", "still").still[1:].all()
    moving = shot("translate", "fast")
    edge = (moving.alphas[6] > 100) & (moving.alphas[6] < 150)
    assert edge.any()
    assert not moving.still[6][edge].any()


def test_speeds_are_those_of_the_motion() -> None:
    made = shot("translate", "fast", frames=25)
    # 152 sin(2 pi t / 24) pixels aside, and 0.12 of it up: between t = 11 and 12 it moves by 152 sin(pi / 12).
    speed = np.hypot(1.0, 0.12) * 152 * np.sin(np.pi / 12)
    assert made.speeds[12].max() == made.speeds[12].min() == round(speed)
    assert made.speeds[6].max() <= 6
    rows = made.alphas[:, 40].astype(float)
    centres = (rows * np.arange(SIZE.width)).sum(axis=1) / rows.sum(axis=1)
    assert (centres[12] - centres[11]) * 1280 / SIZE.width == pytest.approx(-152 * np.sin(np.pi / 12), abs=2.0)


def test_the_true_matte_scores_nothing() -> None:
    made = shot("translate", "fast")
    scores = scored(made, made.alphas)
    assert scores.boundary == 1.0
    for name in ("mad", "mse", "grad", "conn", "dtssd", "flicker", "trail", "miss"):
        assert getattr(scores, name) == 0.0, name


def test_the_true_matte_and_colours_have_no_halo() -> None:
    made = shot("translate", "fast")
    tally = Tally(made)
    green = np.full((*SIZE[::-1], 3), GREEN, np.uint8)
    for index in range(0, 17, CHECKED):
        tally.add_halo("halo_green", index, true_composite(made, index, green), true_composite(made, index, green))
    assert tally.scores.halo_green == 0.0
    # With the true alpha alone, what is left of the room at the soft edge is a halo; with a wide alpha a worse one.
    true_alpha = scored(made, made.alphas).halo_green
    wide = np.stack([np.where(halo_band(alpha), np.uint8(255), alpha) for alpha in made.alphas])
    wider = scored(made, wide).halo_green
    assert true_alpha is not None
    assert wider is not None
    assert 0.0 < true_alpha < wider / 3


def test_the_true_blur_knows_nothing_of_what_is_hidden() -> None:
    alpha = np.zeros((40, 40), np.uint8)
    alpha[:, :20] = 255
    chance = np.random.default_rng(0)
    wall = chance.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    other = wall.copy()
    other[:, :20] = 0
    shown = blurred_around(wall, alpha, 3.0)
    assert np.abs(shown[:, 20:].astype(int) - blurred_around(other, alpha, 3.0)[:, 20:]).max() <= 1
    x = np.arange(-12, 13)
    weight = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * 3.0**2)) * (alpha[8:33, 10:35] == 0)
    expected = (wall[8:33, 10:35] * weight[..., None]).sum(axis=(0, 1)) / weight.sum()
    assert np.abs(shown[20, 22] - expected).max() <= 1.0


def test_a_matte_that_lags_trails_where_it_moves_and_nowhere_else() -> None:
    made = shot("translate", "fast", frames=25)
    lagging = np.concatenate([made.alphas[:1], made.alphas[:-1]])
    scores = scored(made, lagging)
    assert scores.trail is not None
    assert scores.trail > 300.0
    assert scores.flicker == 0.0 or scores.flicker is None or scores.flicker < 5.0
    still = shot("still", "still")
    assert scored(still, np.concatenate([still.alphas[:1], still.alphas[:-1]])).trail is None


def test_alternating_noise_flickers_by_as_much_as_it_is() -> None:
    made = shot("still", "still", frames=9)
    noisy = made.alphas.copy()
    noisy[1::2, 10, 10] = 255
    scores = scored(made, noisy)
    assert scores.flicker == pytest.approx(1e3 / (SIZE.width * SIZE.height))
    assert scores.trail is None


def test_exposure_and_compression_leave_the_truth_alone() -> None:
    clean = shot("translate", "smooth", frames=9)
    sent = shot("translate", "smooth", frames=9, drift=0.2, bitrate=700_000, noise=3.0)
    assert np.array_equal(clean.alphas, sent.alphas)
    assert np.array_equal(clean.still, sent.still)
    difference = np.abs(clean.frames[8].planes[0].astype(float) - sent.frames[8].planes[0])
    assert 1.0 < difference.mean() < 40.0


def test_a_scene_is_the_same_each_time() -> None:
    first, second = (shot("wave", "smooth", frames=3, noise=4.0, bitrate=700_000) for _ in range(2))
    for one, other in zip(first.frames, second.frames, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


def test_the_exposure_blurs_what_moves() -> None:
    scene = Scene("drawn", "translate", "fast", Person("", ""), "")
    made = person()
    _, sharp = exposed(dataclasses.replace(scene, motion="still", character="still"), made, SIZE, 0)
    light, blurred = exposed(scene, made, SIZE, 0)
    soft = [int(((levels(255 * alpha) > 12) & (levels(255 * alpha) < 243)).sum()) for alpha in (sharp, blurred)]
    assert soft[1] > 1.2 * soft[0]
    white = np.full((*SIZE[::-1], 3), 255, np.uint8)
    assert composed(light, blurred, white).max() <= 255.5


def test_missing_footage_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RTSEG_SHARED", str(tmp_path / "nowhere"))
    monkeypatch.setenv("RTSEG_MODELS", str(tmp_path / "nowhere"))
    assert main(["--scenes", "1", "--methods", "bare", "--folder", str(tmp_path / "kept")]) == 1
    said = capsys.readouterr().out.strip().splitlines()
    assert len(said) == 1
    assert "set RTSEG_SHARED" in said[0]


def test_mediapipes_smoothing_keeps_what_is_sure_and_holds_what_is_not() -> None:
    new = np.array([[0.0, 1.0, 0.5, 0.7]], np.float32)
    past = np.array([[1.0, 0.0, 1.0, 0.1]], np.float32)
    x = 0.2**2
    sure = x * (5.68842 + x * (-0.748699 + x * (-57.8051 + x * (291.309 + x * -624.717))))
    expected = [0.0, 1.0, 0.5 + 0.5 * 0.9, 0.7 - 0.6 * (1 - sure) * 0.9]
    assert mixed(new, past, 0.9)[0] == pytest.approx(expected, abs=2e-3)


def test_a_method_is_its_name() -> None:
    assert method("bare").network == "portrait"
    assert method("portrait-studio:default").network == "portrait-studio"
    assert method("selfie-general+smoothing").network == "selfie-general"
    frame = Frame.from_rgb(np.zeros((8, 16, 3), np.uint8))
    mask = Regions(np.array([[[0, 26, 25, 255]]], np.uint8), ("person",), frame.pts, frame.size)
    assert np.array_equal(method("bare")(frame, mask), enlarge(mask.probabilities[0], frame.size))
    cut = method("selfie-landscape+sample")(frame, mask)
    assert set(np.unique(cut)) == {0, 255}
    with pytest.raises(ConfigError, match="unknown filter 'smoth'"):
        method("smoth+refine")
    with pytest.raises(ConfigError, match=r"'smooth\(speed=1\)': .*unexpected keyword"):
        method("smooth(speed=1)")
    with pytest.raises(ConfigError, match="use one of smoothing, sample"):
        method("selfie-landscape+blur")


def test_presets_are_methods_and_those_of_several_views_ask_the_network_themselves() -> None:
    frames = list(Sample(seconds=0.3, size=(320, 180), rate=10))
    size = frames[0].size
    unused = Regions(np.zeros((1, 8, 16), np.uint8), ("person",), 0, size)
    alphas = {}
    for name in ("balanced", "studio"):
        each = method(name)
        assert each.looks
        alphas[name] = [each(replace(frame), unused) for frame in frames]
        each.reset()
        assert all(map(np.array_equal, alphas[name], (each(replace(frame), unused) for frame in frames)))
        assert each.composite(frames[-1], alphas[name][-1], Solid(GREEN)).shape == (180, 320, 3)
    assert not np.array_equal(alphas["balanced"][0], alphas["studio"][0])
    pipeline = load_pipeline(preset="studio", threads=1)
    last = [pipeline(replace(frame)).segmentation for frame in frames][-1]
    assert np.array_equal(enlarge(masks_of(last)["person"], size), alphas["studio"][-1])


def test_the_fast_preset_is_the_default_on_masks_that_are_kept() -> None:
    frame = shot("still", "still", frames=1).frames[0]
    mask = Regions(
        np.asarray(cv2.resize(np.eye(9, dtype=np.uint8) * 255, (32, 18)), np.uint8)[None], ("person",), 0, SIZE
    )
    assert not method("fast").looks
    assert np.array_equal(method("fast")(frame, mask), method("default")(frame, mask))
    with pytest.raises(ConfigError, match="a preset asks its network"):
        method("truth:balanced")


def test_the_network_that_is_never_wrong_is_off_by_its_resolution_only() -> None:
    made = shot("still", "still", frames=2)
    found = masks(Path("nowhere"), TRUTH, Networks([TRUTH]), made)
    assert found.size == (256, 144)
    each = method("truth:bare")
    for index, frame in enumerate(made.frames):
        mask = Regions(found.masks[index][None], ("person",), frame.pts, frame.size)
        assert np.abs(each(frame, mask).astype(int) - made.alphas[index]).max() <= 24
    assert method("truth:default").network == TRUTH


def test_the_background_of_the_frame_is_all_that_a_bad_matte_shows() -> None:
    frame = Frame.from_rgb(np.full((32, 64, 3), (200, 30, 30), np.uint8))
    nobody = Regions(np.zeros((1, 8, 16), np.uint8), ("person",), frame.pts, frame.size)
    for name in ("bare", "pphumanseg-lite"):
        each = method(name)
        shown = each.composite(frame, each(frame, nobody), Solid(GREEN))
        assert np.abs(shown.astype(int) - GREEN).max() <= 3


def test_nobody_in_the_scenes_was_trained_on(shared: Path) -> None:
    for each in PEOPLE:
        folder = shared / "data" / "person" / each.folder
        data = DataSet.model_validate({"folder": folder, "regions": {"person": ()}})
        assert each.stem in data.stems("held_out"), each


@pytest.mark.slow
def test_a_run_writes_figures_and_a_sheet_and_keeps_its_scenes(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSEG_SHARED", str(shared))
    monkeypatch.setenv("RTSEG_MODELS", str(shared / "weights"))
    arguments = ["--scenes", "2", "--frames", "6", "--size", "160x92", "--methods", "bare,smooth(follow=false)"]
    files = {"--folder": tmp_path / "kept", "--json": tmp_path / "q.json", "--sheet": tmp_path / "q.png"}
    arguments += [str(word) for pair in files.items() for word in pair]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "against bare" in said
    first = json.loads(files["--json"].read_text())
    assert [each["name"] for each in first["methods"]] == ["bare", "smooth(follow=false)"]
    assert list(first["methods"][0]["scenes"]) == ["01-still", "02-translate-fast"]
    assert first["methods"][0]["total"]["mad"] > 0.0
    sheet = cv2.imread(str(files["--sheet"]))
    assert sheet is not None
    assert sheet.shape[1] == 4 * (400 + 2 * 10)
    assert main(arguments) == 0
    again = json.loads(files["--json"].read_text())
    assert again["methods"][0]["total"] == first["methods"][0]["total"]
