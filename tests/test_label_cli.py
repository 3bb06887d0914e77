from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import Rtseg, broken_picture, portrait_photo, runner
from media import picture, write_video

from rtseg.datasets import read_mask
from rtseg.labels.folder import read_set


@pytest.fixture
def rtseg(capsys: pytest.CaptureFixture[str]) -> Rtseg:
    return runner(capsys)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One and a half seconds of a person, 160x90, ten frames a second."""
    import rtseg as package

    path = tmp_path_factory.mktemp("clip") / "call.mp4"
    config = package.parse_config(
        {
            "source": {"type": "sample", "seconds": 1.5, "size": [160, 90], "rate": 10},
            "sinks": [{"type": "video", "path": str(path)}],
        }
    )
    package.run(config=config, background="none")
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_video_becomes_a_folder_to_correct(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    result = rtseg("label", clip, "-o", mine, "--count", 4)
    assert result.code == 0, result.err
    assert names_in(mine) == ["data.toml", "images", "masks", "overlay.png"]
    stems = [name.removesuffix(".jpg") for name in names_in(mine / "images")]
    assert len(stems) == 4
    assert all(stem.startswith("call_00") and int(stem[-6:]) % 100 == 0 for stem in stems), "milliseconds"
    assert names_in(mine / "masks") == [f"{stem}.png" for stem in stems]
    mask = read_mask(mine / "masks" / f"{stems[0]}.png")
    assert mask.shape == (90, 160)
    assert set(np.unique(mask)) == {0, 255}
    assert mask[85, 70] == 255, "the suit"
    data = read_set(mine)
    assert (data.kind, data.regions, len(data.stems())) == ("binary", {"person": (255,)}, 4)
    assert "4 pictures chosen, 4 of them new" in result.out


def test_corrected_masks_are_never_overwritten(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    assert rtseg("label", clip, "-o", mine, "--count", 3).code == 0
    first, second, *_ = sorted((mine / "masks").iterdir())
    cv2.imwrite(str(first), np.zeros((90, 160), np.uint8))
    corrected, image = first.read_bytes(), (mine / "images" / f"{first.stem}.jpg").read_bytes()
    made = second.read_bytes()
    second.unlink()
    result = rtseg("label", clip, "-o", mine, "--count", 5, "--json").json
    assert (result["added"], result["masks_made"], result["masks_kept"]) == (2, 3, 2)
    assert first.read_bytes() == corrected
    assert second.read_bytes() == made, "the same picture gives the same mask"
    assert (mine / "images" / f"{first.stem}.jpg").read_bytes() == image


def test_frames_have_the_same_name_in_every_cut(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    cut = rtseg("label", clip, "-o", tmp_path / "cut", "--start", 0.5, "--end", 0.9, "--count", 9)
    assert cut.code == 0
    assert set(names_in(tmp_path / "cut" / "images")) <= {f"call_000{n}00.jpg" for n in (5, 6, 7, 8)}
    assert "fewer than 9: all others are blurred or like one of these" in cut.out


def test_several_regions_are_numbers(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    result = rtseg("label", "frames", clip, "-o", tmp_path, "--model", "road-fast", "--count", 2)
    assert result.code == 0
    data = read_set(tmp_path)
    assert data.kind == "index"
    assert data.regions == {"drivable": (1,), "lane": (2,), "vehicle": (3,), "vulnerable": (4,)}
    assert set(data.read(data.stems()[0]).planes) == set(data.regions)


def test_soft_masks_are_soft(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    assert rtseg("label", clip, "-o", tmp_path, "--kind", "alpha", "--count", 1).code == 0
    (mask,) = (tmp_path / "masks").iterdir()
    assert len(np.unique(read_mask(mask))) > 10


def test_pictures_of_a_folder_are_all_taken(rtseg: Rtseg, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    portrait_photo(photos / "wide.jpg")
    portrait_photo(photos / "tall.png", size=(80, 101))
    result = rtseg("label", photos, "-o", tmp_path / "mine")
    assert result.code == 0
    assert names_in(tmp_path / "mine" / "images") == ["tall.png", "wide.jpg"]
    assert (tmp_path / "mine" / "images" / "wide.jpg").read_bytes() == (photos / "wide.jpg").read_bytes()
    assert read_mask(tmp_path / "mine" / "masks" / "tall.png").shape == (101, 80)


def test_of_many_pictures_as_many_as_wanted_are_chosen(rtseg: Rtseg, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    portrait_photo(photos / "a.png")
    for name in ("b", "c"):
        cv2.imwrite(str(photos / f"{name}.png"), np.random.default_rng(3).integers(0, 255, (90, 120, 3), np.uint8))
    assert rtseg("label", photos, "-o", tmp_path / "mine", "--count", 2).code == 0
    assert len(names_in(tmp_path / "mine" / "images")) == 2
    assert "a.png" in names_in(tmp_path / "mine" / "images")


def test_a_broken_picture_is_named_and_the_others_are_done(rtseg: Rtseg, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    portrait_photo(photos / "a.png")
    broken = broken_picture(photos / "broken.png")
    result = rtseg("label", photos, "-o", tmp_path / "mine")
    assert result.code == 7
    assert str(broken) in result.error()
    assert names_in(tmp_path / "mine" / "masks") == ["a.png"]


def test_pictures_put_into_the_folder_get_masks(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    assert rtseg("label", clip, "-o", tmp_path, "--count", 1).code == 0
    portrait_photo(tmp_path / "images" / "more.png")
    result = rtseg("label", tmp_path / "images", "-o", tmp_path, "--json").json
    assert (result["added"], result["masks_made"], result["masks_kept"]) == (0, 1, 1)


def test_masks_go_to_another_tool_and_come_back(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    mine, back, file = tmp_path / "mine", tmp_path / "back", tmp_path / "mine.json"
    assert rtseg("label", clip, "-o", mine, "--count", 2).code == 0
    exported = rtseg("label", "export", mine, "--coco", file, "--json").json
    assert exported["pictures"] == 2
    imported = rtseg("label", "import", file, "--images", mine / "images", "-o", back, "--json").json
    assert (imported["masks_made"], imported["problems"]) == (2, {})
    for stem in read_set(mine).stems():
        assert np.array_equal(read_set(mine).read(stem).planes["person"], read_set(back).read(stem).planes["person"])
    again = rtseg("label", "import", file, "--images", mine / "images", "-o", back)
    assert "2 were there and are kept: --replace writes them anew" in again.out


def test_check_says_what_is_wrong_and_ends_so(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    assert rtseg("label", clip, "-o", tmp_path, "--count", 2).code == 0
    (tmp_path / "overlay.png").unlink()
    good = rtseg("label", "check", tmp_path)
    assert good.code == 0
    assert "2 labelled pictures" in good.out
    assert "person: in 2 pictures" in good.out
    assert (tmp_path / "overlay.png").exists()
    first = min((tmp_path / "masks").iterdir())
    cv2.imwrite(str(first), np.zeros((9, 16), np.uint8))
    bad = rtseg("label", "check", tmp_path)
    assert bad.code == 5
    assert "is 16x9, its picture 160x90" in bad.error()
    assert list(rtseg("label", "check", tmp_path, "--json").json["problems"]) == [str(first)]


def test_a_still_video_gives_one_frame_and_says_so(rtseg: Rtseg, tmp_path: Path) -> None:
    path = write_video(tmp_path / "still.mkv", (picture(0) for _ in range(6)))
    result = rtseg("label", path, "-o", tmp_path / "mine")
    assert result.code == 0
    assert names_in(tmp_path / "mine" / "images") == ["still_000000.jpg"]
    assert "fewer than 40" in result.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("missing.mp4 -o mine", 5, "missing.mp4"),
        ("call.mp4 -o mine --model portrat", 3, "portrait"),
        ("call.mp4 -o mine --regions dog", 2, "knows no region 'dog': choose from person"),
        ("call.mp4 -o mine --regions ,", 2, "knows no region"),
        ("call.mp4 -o mine --model road --kind alpha", 2, "choose one with --regions"),
        ("call.mp4 -o mine --start 5", 2, "past the end"),
        ("empty -o mine", 2, "no picture in empty"),
        ("twice -o mine", 2, "would both be called 'a'"),
        ("check mine", 2, "mine cannot be read"),
        ("export mine --coco c.json", 2, "give a folder that `rtseg label` made"),
        ("import missing.json -o mine", 2, "missing.json cannot be read"),
        ("import empty -o mine", 2, "give the unpacked folder of CVAT"),
    ],
)
def test_what_cannot_be_is_one_line(
    rtseg: Rtseg,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("call.mp4").write_bytes(clip.read_bytes())
    Path("empty").mkdir()
    Path("twice").mkdir()
    for name in ("a.jpg", "a.png"):
        portrait_photo(Path("twice") / name)
    result = rtseg("label", *arguments.split())
    assert result.code == code
    assert message in result.error()
    assert not list(tmp_path.glob("mine/images/*"))


def test_a_folder_about_something_else_is_left_alone(rtseg: Rtseg, clip: Path, tmp_path: Path) -> None:
    assert rtseg("label", clip, "-o", tmp_path, "--count", 1).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    result = rtseg("label", clip, "-o", tmp_path, "--model", "road-fast")
    assert result.code == 2
    assert "choose another folder" in result.error()
    assert {path: path.read_bytes() for path in before} == before


def test_help_names_the_commands_and_the_short_form(rtseg: Rtseg) -> None:
    said = rtseg("label", "--help").out
    assert "rtseg label VIDEO -o DIR" in said
    assert all(name in said for name in ("frames", "check", "export", "import"))
    assert "--count" in rtseg("label", "frames", "--help").out
