"""Teachers: asked once a picture, and heard only where they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trained import square

from rtseg.errors import ConfigError, ModelNotFound
from rtseg.ops.arrays import U8
from rtseg.train import teachers
from rtseg.train.recipe import TeacherOptions
from rtseg.train.samples import consensus
from rtseg.train.teachers import Teacher, apply_teacher


def options(**values: Any) -> TeacherOptions:
    return TeacherOptions.model_validate(
        {"model": "portrait", "use": "fill", "regions": {"person": "someone"}, **values}
    )


def row(*values: int) -> U8:
    return np.array([values], np.uint8)


def test_a_picture_that_was_asked_about_is_not_asked_about_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb, _ = square()
    first = Teacher(options(), cache=tmp_path).cached(rgb, place="set/a")
    assert list(first) == ["someone"]
    assert [path.relative_to(tmp_path).parts[1:] for path in tmp_path.rglob("*.png")] == [("set", "a.someone.png")]

    def refuse(*_: Any) -> Any:
        def segment(_: object) -> None:
            raise AssertionError("the teacher was asked")

        return segment

    monkeypatch.setattr(teachers, "build_segmenter", refuse)
    again = Teacher(options(), cache=tmp_path)
    assert np.array_equal(again.cached(rgb, place="set/a")["someone"], first["someone"])
    with pytest.raises(AssertionError, match="was asked"):
        again.cached(rgb, place="set/b")


def test_a_teacher_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="teacher 'portrait' has no hat: choose from person"):
        Teacher(options(regions={"hat": "hat"}), cache=tmp_path)
    with pytest.raises(ConfigError, match="gives classes, not soft regions"):
        Teacher(options(model="espnetv2-city", regions={"car": "car"}), cache=tmp_path)
    with pytest.raises(ModelNotFound, match="no model is called 'portrai'"):
        Teacher(options(model="portrai"), cache=tmp_path)


def test_fill_speaks_only_where_the_labels_are_silent() -> None:
    planes, known = {"someone": row(9, 0, 0)}, {"someone": row(255, 0, 0)}
    apply_teacher(options(), {"someone": row(200, 100, 255)}, planes, known)
    assert planes["someone"].tolist() == [[9, 100, 255]]
    assert known["someone"].tolist() == [[255, 255, 255]]


def test_fill_keeps_silent_where_it_is_not_sure_enough() -> None:
    planes, known = {"someone": row(0, 0, 0, 0)}, {"someone": row(0, 0, 0, 0)}
    apply_teacher(options(sure=0.8), {"someone": row(0, 20, 128, 240)}, planes, known)
    assert known["someone"].tolist() == [[255, 255, 0, 255]]  # |p / 127.5 - 1| is 1, 0.84, 0 and 0.88


def test_ignore_makes_unknown_what_only_the_teacher_sees_away_from_the_label() -> None:
    label = np.zeros((1, 40), np.uint8)
    label[:, :10] = 255
    theirs = np.zeros((1, 40), np.uint8)
    theirs[:, 5:15] = theirs[:, 30:35] = 255
    planes, known = {"someone": label.copy()}, {"someone": np.full_like(label, 255)}
    apply_teacher(options(use="ignore"), {"someone": theirs}, planes, known)
    assert np.flatnonzero(known["someone"][0] == 0).tolist() == [12, 13, 14, 30, 31, 32, 33, 34]  # 2 are a margin
    assert np.array_equal(planes["someone"], label)


def test_an_opinion_is_enlarged_to_the_picture() -> None:
    planes, known = {"someone": np.zeros((4, 8), np.uint8)}, {"someone": np.zeros((4, 8), np.uint8)}
    apply_teacher(options(), {"someone": np.full((2, 4), 77, np.uint8)}, planes, known)
    assert (planes["someone"] == 77).all()


class Fixed:
    """A teacher that always says the same."""

    def __init__(self, weight: float, **planes: int) -> None:
        self.options = options(use="distil", weight=weight)
        self._planes = planes

    def __call__(self, rgb: U8) -> dict[str, U8]:
        return {name: np.full((2, 2), value, np.uint8) for name, value in self._planes.items()}


def test_several_teachers_are_averaged_by_their_weights() -> None:
    wise, brief = Fixed(0.5, a=255, b=51), Fixed(0.25, a=0)
    planes, shares = consensus([wise, brief], np.zeros((4, 6, 3), np.uint8), ("a", "b", "c"))  # type: ignore[list-item]
    assert planes.shape == (3, 4, 6)
    np.testing.assert_allclose(planes[:, 0, 0], [2 / 3, 0.2, 0], atol=1e-6)
    assert shares.tolist() == [0.75, 0.5, 0]
