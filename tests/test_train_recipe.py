"""Recipes: checked before anything is loaded, with one error that names what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from trained import HEADS, MODEL, SCHEDULE, recipe, write_recipe, write_set

from rtseg.errors import ConfigError
from rtseg.train.recipe import Recipe, read_recipe


def test_what_a_recipe_leaves_out_has_the_usual_values(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    assert made.regions == ("person",)
    assert made.model.architecture == "network"
    assert made.heads[0].dice == 0.5
    assert made.augment.flip == 0.5
    assert made.data[0].share == 0.2


@pytest.mark.parametrize(
    ("part", "old", "new", "message"),
    [
        ("model", "64, 48", "64, 50", r"model\.size\.1: .*multiple of 16"),
        ("model", '"mobile"', '"vgg"', r"model\.encoder\.kind: .*'mobile', 'lite0' or 'onnx'"),
        ("model", "widths", "width", r"model\.width: "),
        ("heads", '"alpha"', '"Alpha!"', r"heads\.0\.name: "),
        ("heads", '"person"', '"persons"', "no set and no teacher labels persons"),
        ("heads", '["person"]', '["person", "person"]', "each region belongs to one head"),
        ("schedule", "steps = 4", "steps = -1", r"schedule\.steps: .*greater than or equal to 0"),
        ("schedule", "rate = 1e-2", "rate = nan", r"schedule\.rate: "),
        ("data", '"set"', '"set"\nkind = "maybe"', r"data\.0\.kind: .*not 'maybe'"),
    ],
)
def test_a_bad_value_is_one_error_that_names_field_and_value(
    part: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    data = 'folder = "set"\nregions = { person = [] }'
    parts = {"model": MODEL, "heads": HEADS, "schedule": SCHEDULE, "data": data}
    assert old in parts[part]
    path = write_recipe(tmp_path, **{**parts, part: parts[part].replace(old, new)})
    with pytest.raises(ConfigError, match=f"tiny.toml is not a recipe: .*{message}"):
        read_recipe(path)


def test_a_teacher_of_a_set_that_there_is_not_is_refused(tmp_path: Path) -> None:
    teacher = '[[teachers]]\nmodel = "portrait"\nuse = "fill"\nregions = { person = "person" }\nsets = ["other"]'
    path = write_recipe(tmp_path, more=teacher)
    with pytest.raises(ConfigError, match=r"teacher 'portrait' names \['other'\], known sets are \['set'\]"):
        read_recipe(path)


def test_teachers_cannot_weigh_more_than_everything(tmp_path: Path) -> None:
    teacher = '[[teachers]]\nmodel = "portrait"\nuse = "distil"\nregions = { person = "person" }\nweight = 0.6\n'
    with pytest.raises(ConfigError, match=r"teachers that distil add up to 1\.2: at most 1"):
        recipe(tmp_path, more=teacher * 2)


def test_what_is_no_toml_or_not_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    with pytest.raises(ConfigError, match=r"broken.toml cannot be read: No such file"):
        read_recipe(path)
    path.write_text("name = ")
    with pytest.raises(ConfigError, match=r"broken.toml is not a TOML file"):
        read_recipe(path)
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match=r"broken.toml is not a TOML file"):
        read_recipe(path)


def test_places_are_of_the_recipes_folder_and_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_SETS", str(tmp_path / "elsewhere"))
    start = MODEL + '\nstart = "../before.onnx"\narchitecture = "onnx"'
    made = recipe(tmp_path, model=start, data='folder = "${TINY_SETS}/set"\nregions = { person = [] }')
    assert made.data[0].folder == tmp_path / "elsewhere" / "set"
    assert made.model.start is not None
    assert made.model.start.resolve() == tmp_path.parent.resolve() / "before.onnx"


def test_a_variable_that_is_not_set_is_named_with_its_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINY_SETS", raising=False)
    path = write_recipe(tmp_path, data='folder = "${TINY_SETS}/set"\nregions = { person = [] }')
    with pytest.raises(ConfigError, match=r"uses \$\{TINY_SETS\}, which is not set: export TINY_SETS="):
        read_recipe(path)


def test_a_checkpoint_is_a_folder_beside_the_recipe_or_an_id_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    segformer = 'architecture = "segformer"\nsize = [64, 48]\ncheckpoint = '
    assert recipe(tmp_path, model=segformer + '"mine"').model.checkpoint == str(tmp_path / "mine")
    assert recipe(tmp_path, model=segformer + '"nvidia/mit-b0"').model.checkpoint == "nvidia/mit-b0"


def test_the_hash_is_of_what_the_recipe_says_wherever_it_lies(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        write_set(folder / "set")
    first, second = recipe(here), recipe(there, more="# a comment")
    assert first.hash == second.hash
    assert len(first.hash) == 64
    assert recipe(there, schedule=SCHEDULE.replace("1e-2", "2e-2")).hash != first.hash
    assert first.model_copy(update={"seed": 4}).hash != first.hash


def test_the_hash_is_not_of_what_is_chosen_after_training(tmp_path: Path) -> None:
    first = recipe(tmp_path)
    assert recipe(tmp_path, heads=HEADS + "\nshift = 0.5").hash == first.hash
    begun = MODEL + '\nstart = "first.onnx"'
    assert recipe(tmp_path, model=begun + "\nkeep = 0.5").hash == recipe(tmp_path, model=begun).hash != first.hash
    assert recipe(tmp_path, heads=HEADS + "\nweight = 0.5").hash != first.hash


def test_nothing_is_kept_of_no_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.keep is 0\.5, but there is no model\.start"):
        recipe(tmp_path, model=MODEL + "\nkeep = 0.5")


def test_a_view_shows_no_more_than_the_picture(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"less than or equal to 1, not 1\.2"):
        recipe(tmp_path, more="[augment]\nzoom = [0.5, 1.2]")


def test_two_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    more = '[[data]]\nfolder = "other/set"\nregions = { person = [] }'
    with pytest.raises(ConfigError, match="two sets are called set"):
        recipe(tmp_path, more=more)


def test_every_field_is_documented() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "train.md").read_text(encoding="utf-8")
    pending: list[type[BaseModel]] = [Recipe]
    while pending:
        for name, field in pending.pop().model_fields.items():
            assert f"`{name}`" in text or f".{name}`" in text, f"docs/train.md does not explain {name}"
            pending += [kind for kind in (field.annotation, *get_args(field.annotation)) if is_table(kind)]


def is_table(kind: Any) -> bool:
    return isinstance(kind, type) and not get_args(kind) and issubclass(kind, BaseModel)
