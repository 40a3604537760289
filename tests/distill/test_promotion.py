"""Who is promoted where the rule is not to elect."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

from orc_repro.distill import Orc
from orc_repro.distill.orc.method import depth_of
from orc_repro.distill.roles import Roles
from orc_repro.models import build
from tests.helpers import SGD, group_of, orc_config, tiny_batch, tiny_networks

GROUP = group_of("resnet8", "resnet14", "resnet8.b")


def make(**promotion: Any) -> Orc:
    networks = tiny_networks(GROUP)
    deeper = nn.Sequential(*networks["resnet14"], nn.Linear(3, 3))  # type: ignore[misc]
    networks["resnet14"] = deeper
    changes = {f"promotion__{name}": value for name, value in promotion.items()}
    method = Orc(orc_config(**changes), GROUP, networks, SGD)
    method.set_learning_rate(1.0)
    method.train()
    return method


def elected(method: Orc, steps: int = 6) -> list[tuple[str, ...]]:
    drawn = method.draw_epoch(steps, 8, torch.Generator().manual_seed(1))
    found = []
    for i in range(steps):
        result = method.step(*tiny_batch(i), {name: v[i] for name, v in drawn.items()})
        assert result.roles is not None and set(result.scores) == set(GROUP.students)
        found.append(result.roles.temporary_teachers)
    return found


def test_depth_counts_layers_with_weights_and_then_parameters() -> None:
    # A stem, six convolutions in blocks, two shortcuts, a classifier.
    assert depth_of(build("resnet8", num_classes=10)) == (10, 78_042)
    names = ("resnet20", "resnet14", "resnet8x4", "resnet8")
    found = [depth_of(build(name, num_classes=10)) for name in names]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("rule", "top_k", "teachers"),
    [
        ("deepest", 1, ("resnet14",)),
        ("deepest", 2, ("resnet14", "resnet8.b")),  # as deep as resnet8, but wider
        ("shallowest", 1, ("resnet8",)),
        ("shallowest", 2, ("resnet8", "resnet8.b")),
    ],
)
def test_a_fixed_temporary_teacher_is_the_same_in_every_iteration(
    rule: str, top_k: int, teachers: tuple[str, ...]
) -> None:
    assert elected(make(rule=rule, top_k=top_k)) == [teachers] * 6


def test_nobody_is_promoted_with_no_place_and_the_pivot_teaches_alone() -> None:
    assert elected(make(top_k=0)) == [()] * 6


def test_by_lot_everyone_has_the_same_chance_and_a_seed_repeats_it() -> None:
    first = elected(make(rule="random"), steps=90)
    assert first == elected(make(rule="random"), steps=90)
    counts = Counter(name for (name,) in first)
    assert set(counts) == set(GROUP.students) and min(counts.values()) > 15


def test_other_rules_draw_what_they_drew_before_there_were_lots() -> None:
    plain, lots = (
        make(rule=rule).draw_epoch(4, 8, torch.Generator().manual_seed(2))
        for rule in ("elected", "random")
    )
    assert set(lots) - set(plain) == {"lots"}
    assert all(torch.equal(plain[name], lots[name]) for name in plain)


@pytest.mark.parametrize("rule", ["deepest", "random"])
def test_a_network_that_has_gone_nan_teaches_under_no_rule(rule: str) -> None:
    method = make(rule=rule)
    with torch.no_grad():
        method.networks["resnet14"][4].bias.fill_(math.nan)  # type: ignore[index]
    assert all("resnet14" not in teachers and len(teachers) == 1 for teachers in elected(method))


def test_hysteresis_belongs_to_elections_alone() -> None:
    method = make(rule="deepest", margin=100.0)
    method.roles = Roles("resnet20", ("resnet8",), ("resnet14", "resnet8.b"))
    assert elected(method, 1) == [("resnet14",)]
