"""Schedule, streams and meter: numbers by hand and identities."""

from __future__ import annotations

import math

import pytest
import torch

from orc_repro.distill import StepResult
from orc_repro.distill.roles import Roles
from orc_repro.training.meter import Meter
from orc_repro.training.schedule import learning_rate_factor
from orc_repro.training.streams import generator, stream_seed

CPU = torch.device("cpu")


def test_the_learning_rate_drops_at_the_start_of_each_milestone_epoch() -> None:
    factors = [learning_rate_factor(epoch, [2, 4], 0.5) for epoch in range(6)]
    assert factors == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert learning_rate_factor(99, [], 0.5) == 1.0


def test_streams_differ_by_name_and_seed_and_repeat() -> None:
    seeds = {stream_seed(s, "init", n) for s in (0, 1) for n in ("resnet8", "resnet14")}
    assert len(seeds) == 4
    assert stream_seed(0, "batches", 3) == stream_seed(0, "batches", 3)
    assert stream_seed(0, "batches", 3) != stream_seed(0, "batches", 4)
    assert torch.equal(
        torch.rand(3, generator=generator(5, "a")), torch.rand(3, generator=generator(5, "a"))
    )


def result(
    loss: float, correct: int, roles: Roles | None = None, kd: float | None = None
) -> StepResult:
    return StepResult(
        losses={"a/loss": torch.tensor(loss)} | ({} if kd is None else {"a/kd": torch.tensor(kd)}),
        correct={"a": torch.tensor(correct)},
        roles=roles,
        scores={"a": 0.25, "b": 1.0} if roles else {},
    )


def test_the_meter_averages_over_the_steps_in_which_a_loss_occurred() -> None:
    meter = Meter(4, CPU)
    meter.add(0, result(1.0, 1, kd=6.0), False)
    meter.add(1, result(3.0, 2), False)
    means, bad = meter.fetch(epoch=0)
    assert means == {"a/loss": 2.0, "a/kd": 6.0, "a/train_top1": 37.5}
    assert bad == []


def test_the_meter_counts_elections_and_margins() -> None:
    meter = Meter(4, CPU)
    for i in range(3):
        meter.add(i, result(1.0, 1, Roles("p", ("a",), ("b",))), i == 0)
    meter.add(3, result(1.0, 1, Roles("p", (), ("a", "b"))), True)
    assert meter.role_changes == 2
    assert meter.elected == {"a": 3}
    assert meter.mean_margin == 0.75


def test_the_meter_names_the_first_step_whose_loss_is_not_finite() -> None:
    meter = Meter(4, CPU)
    for step, loss in enumerate([1.0, 2.0, math.inf, 1.0, math.nan], start=20):
        meter.add(step, result(loss, 0), False)
    _, bad = meter.fetch(epoch=7)
    assert [str(b) for b in bad] == ["the loss of a is not finite since epoch 7, step 22"]


def test_an_empty_meter_has_nothing_to_fetch() -> None:
    with pytest.raises(ValueError, match="no step"):
        Meter(4, CPU).fetch(0)


def test_a_meter_goes_on_from_where_another_was() -> None:
    steps = [
        result(1.0, 1, Roles("p", ("a",), ("b",)), kd=6.0),
        result(0.3, 2),
        result(math.nan, 0),
    ]
    whole, first, second = Meter(4, CPU), Meter(4, CPU), Meter(4, CPU)
    for i, one in enumerate(steps):
        whole.add(i, one, True)
        if i < 2:
            first.add(i, one, True)
    second.load_state_dict(first.state_dict())
    second.add(2, steps[2], True)
    assert str(second.fetch(0)) == str(whole.fetch(0))
    assert (second.elected, second.mean_margin) == (whole.elected, whole.mean_margin)
    assert (second.steps, second.elections, second.role_changes) == (3, 1, 3)
