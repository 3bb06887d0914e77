from __future__ import annotations

import re
import tomllib
from pathlib import Path

import av
import numpy as np
import pytest

from rtseg.cards import Card, read_card
from rtseg.config import ModelOptions
from rtseg.engines import build_segmenter
from rtseg.errors import ModelNotFound, ModelRejected
from rtseg.frame import Frame
from rtseg.ops.arrays import U8, as_u8
from rtseg.results import Instances, Semantic, masks_of
from rtseg.sources.sample import Sample
from rtseg.store import check_graph, sha256_of, verify

MODELS = Path(__file__).resolve().parents[1] / "models"
CARDS = sorted(MODELS.glob("*.toml"))

WHOLE = """
name = "night"
description = "A card for tests."
family = "regions"
file = "night.onnx"
sha256 = "{hash}"
licence = "Apache-2.0"
source = "Made up"
names = ["person", "dog"]
[input]
name = "image"
size = [256, 144]
[[outputs]]
name = "alpha"
regions = {{ dog = 1, person = 0 }}
""".format(hash="0" * 64)


def write(folder: Path, text: str) -> Path:
    path = folder / "night.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def road_frame(shared: Path) -> Frame:
    """A motorway at noon: sky above, trees, the car's own lane in the lower middle."""
    with av.open(shared / "clips/road/highway_traffic.mp4") as clip:
        return Frame.from_rgb(as_u8(next(clip.decode(video=0)).to_ndarray(format="rgb24")))


@pytest.fixture(scope="module")
def person_frame() -> Frame:
    """An astronaut in the middle, hair to suit, before a flag and a model rocket."""
    pytest.importorskip("skimage", reason="the sample needs the extra `demo`")
    return next(iter(Sample(seconds=0.1, size=(640, 360))))


def test_a_card_holds_what_its_file_says(tmp_path: Path) -> None:
    card = read_card(write(tmp_path, WHOLE))
    assert card.names == ("person", "dog")
    assert card.outputs[0].regions == {"dog": 1, "person": 0}
    assert card.input.shape == (1, 3, 144, 256)
    assert (card.input.colour, card.input.fit, card.input.scale) == ("rgb", "stretch", 255.0)
    assert card.folder == tmp_path.resolve()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "night"', 'name = "../night"', "name: String should match"),
        ('file = "night.onnx"', 'file = "../night.onnx"', "file: String should match"),
        ('file = "night.onnx"', 'file = "night.pkl"', "file: String should match"),
        ("0" * 64, "0" * 63, "sha256: String should match"),
        ('"regions"', '"boxes"', "family: Input should be 'regions', 'semantic', 'touching'"),
        ('source = "Made up"', 'sauce = "Made up"', "source: Field required; sauce: Extra inputs"),
        ('source = "Made up"', 'source = "x"\nurl = "http://example.com/a.onnx"', "url: String should match"),
        ("[256, 144]", "[256, 0]", "input.size.1: Input should be greater than 0"),
        ("[256, 144]", "[1000000, 144]", "input.size.0: Input should be less than or equal to 8192"),
        ("[256, 144]", "[256, 144]\nscale = nan", "input.scale: Input should be a finite number"),
        ("[256, 144]", "[256, 144]\nstd = [1, 0, 1]", "input.std.1: Input should be greater than 0"),
        ("[256, 144]", '[256, 144]\ncolour = "hsv"', "input.colour: Input should be 'rgb', 'bgr' or 'yuv'"),
        ('["person", "dog"]', "[]", "names: Tuple should have at least 1 item"),
        ('["person", "dog"]', '["person", "person"]', "names must differ from each other"),
        ('["person", "dog"]', '["person", "../dog"]', "names.1: String should match"),
        ('["person", "dog"]', '["person"]', "must be a region of one output"),
        ('"regions"', '"semantic"', 'the family "semantic" has exactly one output and no regions'),
        ("[[outputs]]", '[palette]\ncat = "#ffffff"\n[[outputs]]', r"palette names \['cat'\]"),
        ("[[outputs]]", '[palette]\ndog = "white"\n[[outputs]]', "palette.dog: String should match"),
    ],
)
def test_a_wrong_card_says_what_is_wrong(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in WHOLE
    with pytest.raises(ModelRejected, match=rf"night\.toml is not a model card: .*{said}"):
        read_card(write(tmp_path, WHOLE.replace(old, new, 1)))


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match=r"night\.toml is not a TOML file: .*line 1"):
        read_card(write(tmp_path, "name is night"))
    (tmp_path / "night.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelRejected, match=r"night\.toml is not a TOML file"):
        read_card(tmp_path / "night.toml")
    with pytest.raises(ModelNotFound, match=r"day\.toml cannot be read: No such file"):
        read_card(tmp_path / "day.toml")


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_every_card_of_ours_is_whole(path: Path) -> None:
    card = read_card(path)
    assert card.name == path.stem
    assert set(card.palette) == set(card.names)
    assert card.metrics
    assert re.match(r"Apache-2\.0|MIT", card.licence)
    assert not card.external  # the hash of one file must say everything: see `verify`
    assert set(tomllib.loads(path.read_text())) <= set(Card.model_fields)


@pytest.mark.parametrize("name", ["portrait", "road", "road-fast"])
def test_our_own_weights_are_in_the_repository(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RTSEG_MODELS", raising=False)
    path = verify(read_card(MODELS / f"{name}.toml"))
    assert path.parent == MODELS
    assert check_graph(path, read_card(MODELS / f"{name}.toml")) == []


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_every_card_describes_its_weights(
    path: Path, shared: Path, road_frame: Frame, person_frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash, the graph's ports, and masks where a person, a road and a sky are known to be."""
    monkeypatch.setenv("RTSEG_MODELS", str(shared / "weights"))
    card = read_card(path)
    weights = verify(card)
    assert sha256_of(weights) == card.sha256
    assert check_graph(weights, card) == []
    segmentation = build_segmenter(ModelOptions(), card)(person_frame if card.names == ("person",) else road_frame)
    if isinstance(segmentation, Semantic):
        assert class_of(card, as_u8(segmentation.labels), rows=(0.8, 0.95)) == "road"
        assert class_of(card, as_u8(segmentation.labels), rows=(0.1, 0.3)) == "sky"
        return
    if isinstance(segmentation, Instances):  # none of these pictures shows what it knows
        assert segmentation.masks.shape[1:] == card.input.shape[2:]
        return
    masks = masks_of(segmentation)
    if card.names == ("person",):
        person = masks["person"]
        assert 0.25 < share(person) < 0.4
        assert share(part(person, rows=(0.2, 0.55), columns=(0.37, 0.52))) > 0.99  # the face
        assert share(part(person, rows=(0.0, 0.4), columns=(0.8, 0.95))) < 0.01  # the rocket
    else:
        lane = part(masks["drivable"], rows=(0.7, 0.85), columns=(0.4, 0.6))
        assert share(lane) > 0.9
        assert share(part(masks["drivable"], rows=(0.0, 0.5))) < 0.01
        assert 0.003 < share(masks["lane"]) < 0.05
    if "vehicle" in masks:  # a dark car and a white one
        assert share(part(masks["vehicle"], rows=(0.59, 0.66), columns=(0.66, 0.72))) > 0.9
        assert share(part(masks["vehicle"], rows=(0.59, 0.66), columns=(0.82, 0.9))) > 0.9
        assert share(masks["vulnerable"]) < 0.01


def part(mask: U8, *, rows: tuple[float, float], columns: tuple[float, float] = (0.0, 1.0)) -> U8:
    """The part of a mask between two fractions of its height and of its width."""
    height, width = mask.shape
    (top, bottom), (left, right) = rows, columns
    return mask[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]


def share(mask: U8) -> float:
    """How much of it is more probable than not."""
    return float((mask >= 128).mean())


def class_of(card: Card, labels: U8, *, rows: tuple[float, float]) -> str:
    """The commonest class in the middle third of those rows."""
    return card.names[int(np.bincount(part(labels, rows=rows, columns=(0.33, 0.67)).ravel()).argmax())]
