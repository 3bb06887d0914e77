from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import graphs
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from rtseg import store
from rtseg.cards import Card, CardInput, CardOutput, read_card
from rtseg.errors import ModelCorrupt, ModelNotFound, ModelRejected

MODELS = Path(__file__).resolve().parents[1] / "models"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the user's models and one for the cache, both empty."""
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("RTSEG_MODELS", str(own))
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    return own


def card_for(path: Path, **changes: object) -> Card:
    """A card that fits graphs.double."""
    facts = {
        "name": "night",
        "description": "For tests",
        "family": "regions",
        "file": path.name,
        "sha256": store.sha256_of(path) if path.is_file() else "0" * 64,
        "licence": "Apache-2.0",
        "source": "Made up",
        "input": CardInput(name="x", size=(8, 4)),
        "outputs": (CardOutput(name="y", regions={"person": 0, "dog": 2}),),
        "names": ("person", "dog"),
    }
    return Card.model_validate(facts | changes)


@pytest.fixture
def model(folders: Path) -> Path:
    return graphs.double(folders / "night.onnx", shape=(1, 3, 4, 8))


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"RTSEG_CACHE": "/elsewhere"}, "/elsewhere"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/rtseg"),
        ("linux", {}, "/home/me/.cache/rtseg"),
        ("darwin", {"XDG_CACHE_HOME": "/xdg"}, "/home/me/Library/Caches/rtseg"),
        ("win32", {"LOCALAPPDATA": "/appdata"}, "/appdata/rtseg"),
        ("win32", {}, "/home/me/AppData/Local/rtseg"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RTSEG_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert store.cache_folder() == Path(expected)


def test_our_own_cards_are_found_by_name() -> None:
    names = [card.name for card in store.list_cards()]
    assert names == sorted(names) == sorted(path.stem for path in MODELS.glob("*.toml"))
    assert store.find_card("road-fast").file == "rtseg_road_fast.onnx"


def test_an_unknown_name_gets_a_hint_and_the_list() -> None:
    with pytest.raises(
        ModelNotFound, match=r"no model is called .potrait.: did you mean portrait or .*known are .*road"
    ):
        store.find_card("potrait")
    with pytest.raises(ModelNotFound, match=r"no model is called 'zzz': known are espnetv2-city, "):
        store.find_card("zzz")


def test_a_card_is_found_by_the_path_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(MODELS / "portrait.toml", tmp_path / "mine.toml")
    monkeypatch.setenv("HOME", str(tmp_path))
    for place in (tmp_path / "mine.toml", str(tmp_path / "mine.toml"), "~/mine.toml"):
        assert store.find_card(place).folder == tmp_path.resolve()
    with pytest.raises(ModelNotFound, match=r"yours\.toml cannot be read"):
        store.find_card(tmp_path / "yours.toml")


def test_the_users_cards_come_before_ours(folders: Path) -> None:
    text = (MODELS / "portrait.toml").read_text()
    (folders / "a.toml").write_text(text.replace('description = "', 'description = "Mine: '))
    assert store.find_card("portrait").description.startswith("Mine: ")
    assert [card.name for card in store.list_cards()].count("portrait") == 1


def test_one_broken_card_hides_no_other(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folders / "broken.toml").write_text("name = 3")
    with caplog.at_level(logging.WARNING):
        assert store.find_card("portrait").name == "portrait"
    assert "passed over" in caplog.text
    assert "broken.toml" in caplog.text


def test_weights_are_sought_beside_the_card_then_with_the_user_then_in_the_cache(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, second, cache = tmp_path / "beside", tmp_path / "second", tmp_path / "cache"
    monkeypatch.setenv("RTSEG_MODELS", os.pathsep.join([str(folders), str(tmp_path / "none"), str(second)]))
    for folder in (beside, second, cache):
        folder.mkdir()
    shutil.copy(MODELS / "road.toml", beside)
    card = read_card(beside / "road.toml")
    for folder in (cache, second, folders, beside):
        (folder / card.file).write_bytes(b"weights")
        assert store.weights(card) == folder / card.file


def test_missing_weights_name_every_place_and_the_way_to_get_them(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound) as missing:
        store.weights(store.find_card("twinlitenet"))
    said = str(missing.value)
    assert "get them with `rtseg models pull twinlitenet`, or put twinlitenet_360x640.onnx into one of" in said
    for place in (MODELS, folders, tmp_path / "cache"):
        assert str(place) in said
    with pytest.raises(ModelNotFound, match=r"they have no public address; put selfie_general_256x256\.onnx into"):
        store.weights(store.find_card("selfie-general"))


def test_verify_gives_the_path_of_the_right_weights(model: Path) -> None:
    assert store.verify(card_for(model)) == model


@pytest.mark.parametrize("position", [0.1, 0.5, 0.999])
def test_one_flipped_bit_is_refused(position: float, folders: Path) -> None:
    """Such a file often loads and runs, with other masks."""
    card = store.find_card("portrait")
    weights = bytearray((MODELS / card.file).read_bytes())
    weights[int(position * len(weights))] ^= 1
    (folders / card.file).write_bytes(weights)
    (folders / "portrait.toml").write_bytes((MODELS / "portrait.toml").read_bytes())
    with pytest.raises(ModelCorrupt, match=r"rtseg_portrait\.onnx is damaged or another version: its SHA-256 is "):
        store.verify(store.find_card("portrait"))


def test_weights_that_change_after_they_were_verified_are_looked_at_again(model: Path) -> None:
    card = card_for(model)
    store.verify(card)
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(ModelCorrupt):
        store.verify(card)


def test_our_own_models_start_without_onnx() -> None:
    """It costs 9 MB and a twentieth of a second; the hash of a packaged card says enough."""
    script = """
import sys
from rtseg import store
from rtseg.inference.engine import OrtEngine
OrtEngine(store.verify(store.find_card("portrait")))
assert "onnx" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize(
    ("node", "domain"),
    [
        (helper.make_node("Mystery", ["x"], ["y"], domain="com.example"), "com.example"),
        (helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib"), "ai.onnx.contrib"),
        (helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft"), "com.microsoft"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.op_type,
)
def test_foreign_operators_are_refused_wherever_they_hide(node: onnx.NodeProto, domain: str, folders: Path) -> None:
    path = folders / "model.onnx"
    said = rf"model\.onnx uses the operator {domain}::{node.op_type}"
    graphs.save(path, [node], domains=[domain])
    with pytest.raises(ModelRejected, match=said):
        store.check_graph(path)

    inner = helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("y", 1, (1, 2, 3, 4))])
    inner = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)],
        "outer",
        [],
        [helper.make_tensor_value_info("y", 1, (1, 2, 3, 4))],
    )
    outer = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    graphs.save(path, [outer], domains=[domain], constants={"c": np.array(True)})
    with pytest.raises(ModelRejected, match=said):
        store.check_graph(path)

    versions = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    function = helper.make_function("com.microsoft", "Mine", ["x"], ["y"], [node], versions)
    call = helper.make_node("Mine", ["x"], ["y"], domain="com.microsoft")
    graphs.save(path, [call], domains=[domain, "com.microsoft"], functions=[function])
    with pytest.raises(ModelRejected, match=said):
        store.check_graph(path)


def outside(path: Path, location: str, *, hide: bool = False) -> Path:
    """A model whose constant of 192 bytes lies in the file `location`; `hide`: in an attribute of a node."""
    constant = numpy_helper.from_array(np.zeros((1, 3, 4, 4), np.float32), "w")
    constant.ClearField("raw_data")
    constant.data_location = onnx.TensorProto.EXTERNAL
    constant.external_data.add(key="location", value=location)
    constant.external_data.add(key="length", value="192")
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    if hide:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=constant))
    shape = (1, 3, 4, 4)
    graphs.save(path, nodes, inputs=[("x", shape)], outputs=[("y", shape)])
    if not hide:
        model = onnx.ModelProto.FromString(path.read_bytes())
        model.graph.initializer.append(constant)
        path.write_bytes(model.SerializeToString())
    return path


def symlink(folder: Path) -> None:
    (folder / "w.bin").symlink_to(folder.parent / "secret.bin")


def inner_symlink(folder: Path) -> None:
    (folder / "real.bin").write_bytes(bytes(192))
    (folder / "w.bin").symlink_to(folder / "real.bin")


def hard_link(folder: Path) -> None:
    (folder / "w.bin").hardlink_to(folder.parent / "secret.bin")


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "w.bin")


def nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize("hide", [False, True], ids=["initializer", "attribute"])
@pytest.mark.parametrize(
    ("location", "prepare"),
    [
        ("../secret.bin", nothing),
        ("{folder}/../secret.bin", nothing),
        ("/etc/passwd", nothing),
        ("..\\secret.bin", nothing),
        ("C:secret.bin", nothing),
        ("sub/w.bin", nothing),
        (".", nothing),
        ("..", nothing),
        ("", nothing),
        ("*/_ORT_MEM_ADDR_/*", nothing),
        ("missing.bin", nothing),
        ("w.bin", symlink),
        ("w.bin", inner_symlink),
        ("w.bin", hard_link),
        ("w.bin", fifo),
    ],
)
def test_weights_outside_the_models_folder_are_refused(
    location: str, prepare: Callable[[Path], None], hide: bool, folders: Path
) -> None:
    (folders.parent / "secret.bin").write_bytes(bytes(192))
    prepare(folders)
    path = outside(folders / "model.onnx", location.format(folder=folders), hide=hide)
    with pytest.raises(ModelRejected, match=r"model\.onnx keeps weights in .*: allowed is a regular file beside"):
        store.check_graph(path)


def test_weights_beside_the_model_are_compared_with_a_hash_of_their_own(folders: Path) -> None:
    (folders / "w.bin").write_bytes(bytes(192))
    path = outside(folders / "night.onnx", "w.bin")
    assert store.check_graph(path) == ["w.bin"]
    size = {"input": CardInput(name="x", size=(4, 4))}
    with pytest.raises(ModelRejected, match=r"reads w\.bin, whose hash the card does not give in `external`"):
        store.verify(card_for(path, **size))
    right = hashlib.sha256(bytes(192)).hexdigest()
    assert store.verify(card_for(path, external={"w.bin": right}, **size)) == path
    with pytest.raises(ModelCorrupt, match=r"w\.bin is damaged"):
        store.verify(card_for(path, external={"w.bin": "0" * 64}, **size))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input": CardInput(name="image", size=(8, 4))}, r"has the inputs \['x'\]; the card 'night' says 'image'"),
        ({"input": CardInput(name="x", size=(4, 8))}, r"takes \(1, 3, 4, 8\); the card 'night' says \(1, 3, 8, 4\)"),
        ({"outputs": (CardOutput(name="z", regions={"person": 0, "dog": 2}),)}, r"has no output 'z', only \['y'\]"),
        ({"outputs": (CardOutput(name="y", regions={"person": 0, "dog": 3}),)}, "at least 4 channels"),
        ({"family": "semantic", "outputs": (CardOutput(name="y"),)}, "needs 1xCxHxW with 2 channels"),
    ],
)
def test_a_graph_that_is_not_as_the_card_says_is_refused(changes: dict[str, object], said: str, model: Path) -> None:
    with pytest.raises(ModelRejected, match=said):
        store.verify(card_for(model, **changes))


def test_an_output_of_another_rank_is_refused(folders: Path) -> None:
    path = graphs.save(
        folders / "night.onnx",
        [helper.make_node("Flatten", ["x"], ["y"])],
        inputs=[("x", (1, 3, 4, 8))],
        outputs=[("y", (1, 96))],
    )
    with pytest.raises(ModelRejected, match=r"output 'y' is \(1, 96\); the card 'night' needs 1xCxHxW"):
        store.verify(card_for(path))


def test_rows_of_a_detector_have_three_sides(folders: Path) -> None:
    path = graphs.double(folders / "night.onnx", shape=(1, 3, 4, 8))
    with pytest.raises(ModelRejected, match=r"output 'y' is \(1, 3, 4, 8\); the card 'night' needs 3 sides"):
        store.verify(card_for(path, family="yolo", outputs=(CardOutput(name="y"),)))


@pytest.mark.parametrize("shape", [("n", 3, "h", "w"), (1, "c", 4, 8)])
def test_open_axes_fit_any_card(shape: tuple[int | str, ...], folders: Path) -> None:
    path = graphs.double(folders / "night.onnx", shape=shape)
    assert store.verify(card_for(path)) == path


@pytest.mark.parametrize("content", [b"", b"\x08", b"this is a text about models\n" * 50, bytes(1000)])
def test_what_is_no_graph_is_refused(content: bytes, folders: Path) -> None:
    path = folders / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelRejected, match=r"model\.onnx is not an ONNX model"):
        store.check_graph(path)


def test_mutants_of_a_real_model_are_refused_or_run() -> None:
    """Flipped, overwritten, cut and riddled files: no crash, no hang, nothing but errors of ours, and silence."""
    script = f"""
import random, resource, sys
from pathlib import Path
from rtseg.inference.engine import OrtEngine
from rtseg.errors import EngineError, ModelError
from rtseg.store import check_graph, find_card

resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
whole = Path({str(MODELS / "rtseg_portrait.onnx")!r}).read_bytes()
card, path, chance = find_card("portrait"), Path(sys.argv[1]), random.Random(7)
for number in range(40):
    mutant = bytearray(whole)
    match number % 4:
        case 0:
            mutant[chance.randrange(len(mutant))] ^= 1 << chance.randrange(8)
        case 1:
            start = chance.randrange(len(mutant))
            mutant[start : start + 8] = chance.randbytes(8)
        case 2:
            del mutant[chance.randrange(len(mutant)) :]
        case 3:
            for _ in range(200):
                mutant[chance.randrange(len(mutant))] = chance.randrange(256)
    path.write_bytes(mutant)
    for attempt in (lambda: check_graph(path, card), lambda: OrtEngine(path, timeout=5.0)):
        try:
            attempt()
        except (ModelError, EngineError) as error:
            assert path.name in str(error), error
"""
    with_model = [sys.executable, "-c", script, str(Path(os.environ["RTSEG_MODELS"]) / "mutant.onnx")]
    done = subprocess.run(with_model, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
