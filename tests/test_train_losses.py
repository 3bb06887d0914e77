"""Losses, to the digit: what is known counts, what is unknown does not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from trained import recipe

from rtseg.train.losses import consistency_loss, dice_loss, edges, head_loss, run_loss
from rtseg.train.recipe import HeadOptions


def head(**options: float) -> HeadOptions:
    return HeadOptions.model_validate({"name": "a", "regions": ["a"], "dice": 0.0, **options})


def maps(*rows: list[float]) -> Tensor:
    return torch.tensor([[list(rows)]], dtype=torch.float32)


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def test_undecided_everywhere_costs_ln_2() -> None:
    loss = head_loss(head(), maps([0.0, 0.0]), maps([0.0, 1.0]), maps([1.0, 1.0]))
    assert float(loss) == pytest.approx(math.log(2))


def test_pixels_of_the_region_count_as_often_as_asked() -> None:
    loss = head_loss(head(positive=3.0), maps([2.0, 1.0]), maps([1.0, 0.0]), maps([1.0, 1.0]))
    assert float(loss) == pytest.approx((3 * softplus(-2) + softplus(1)) / 4)


def test_unknown_pixels_count_nothing_and_teach_nothing() -> None:
    logits = maps([2.0, 50.0, -1.0]).requires_grad_()
    for options in ({}, {"dice": 0.5, "edge": 2.0}):
        known = maps([1.0, 0.0, 1.0])
        loss = head_loss(head(**options), logits, maps([1.0, 0.0, 0.0]), known)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient[0, 0, 0, 1] == 0
        assert (gradient[0, 0, 0, [0, 2]] != 0).all()
    plain = head_loss(head(), logits, maps([1.0, 0.0, 0.0]), maps([1.0, 0.0, 1.0]))
    assert plain.item() == pytest.approx((softplus(-2) + softplus(-1)) / 2)


def test_nothing_known_is_no_loss() -> None:
    nothing = maps([0.0, 0.0])
    assert float(head_loss(head(dice=0.5), maps([3.0, -3.0]), maps([1.0, 0.0]), nothing)) == 0


def test_dice_of_a_perfect_match_and_of_a_miss() -> None:
    four, none = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    assert float(dice_loss(four, four, four)) == 0
    assert float(dice_loss(none, four, four)) == pytest.approx(0.8)  # 1 - (0 + 1) / (4 + 1)
    two = torch.cat([four, four], dim=1)  # a second region, of which nothing is known, changes no mean
    assert float(dice_loss(two * 0, two, torch.cat([four, none], dim=1))) == pytest.approx(0.8)


def test_edges_reach_two_pixels_to_either_side() -> None:
    step = maps(*[[0.0] * 5 + [1.0] * 5] * 5)
    assert edges(step)[0, 0, 2].tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 0, 0]


def test_pixels_at_an_edge_count_more() -> None:
    target = maps([0.0] * 5 + [1.0] * 5)
    logits = maps([0.0] * 3 + [1.0, 1.0] + [0.0] * 5)
    loss = head_loss(head(edge=2.0), logits, target, torch.ones_like(target))
    each = [math.log(2)] * 3 + [softplus(1)] * 2 + [math.log(2)] * 5
    weight = [1, 1, 1, 3, 3, 3, 3, 1, 1, 1]
    assert float(loss) == pytest.approx(sum(e * w for e, w in zip(each, weight, strict=True)) / sum(weight))


def test_two_renderings_should_agree() -> None:
    first, second = {"a": maps([0.0, 0.0])}, {"a": maps([0.0, math.log(3)])}
    assert float(consistency_loss(first, second)) == pytest.approx(0.125)


def test_labels_are_averaged_down_to_the_map_and_half_known_is_unknown(tmp_path: Path) -> None:
    made = recipe(tmp_path, heads='[[heads]]\nname = "alpha"\nregions = ["person"]\nstride = 2\ndice = 0')
    batch = {
        "image": torch.zeros(1, 3, 2, 4),
        "target": maps([1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0]),
        "known": maps([1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]),
    }
    logits = maps([2.0, 9.0])  # the left cell is half covered, the right one partly unknown
    assert float(run_loss(made, {"alpha": logits}, batch)) == pytest.approx(softplus(2) - 0.5 * 2)


def test_a_teacher_has_its_share(tmp_path: Path) -> None:
    teacher = '[[teachers]]\nmodel = "portrait"\nuse = "distil"\nregions = { person = "person" }\nweight = 0.25'
    made = recipe(tmp_path, heads='[[heads]]\nname = "alpha"\nregions = ["person"]\ndice = 0', more=teacher)
    batch = {
        "image": torch.zeros(1, 3, 1, 2),
        "target": maps([1.0, 0.0]),
        "known": maps([1.0, 0.0]),
        "teacher": maps([0.5, 1.0]),
        "teacher_known": torch.ones(1, 1),
    }
    logits = maps([1.0, -1.0])
    labels, soft = softplus(-1), ((softplus(1) - 0.5) + softplus(1)) / 2
    assert float(run_loss(made, {"alpha": logits}, batch)) == pytest.approx(0.75 * labels + 0.25 * soft)
    batch["teacher_known"] = torch.zeros(1, 1)
    assert float(run_loss(made, {"alpha": logits}, batch)) == pytest.approx(labels)
