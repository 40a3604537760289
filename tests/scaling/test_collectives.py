"""What an iteration says to other processes, seen on real groups."""

from __future__ import annotations

import pytest

from benchmarks.group import Steps
from orc_repro.scaling.collectives import ballot_bytes, updates_of


def learned(steps: Steps, *names: str) -> int:
    return sum(4 * p.numel() for name in names for p in steps.method.networks[name].parameters())


def test_orc_averages_the_pivot_the_promoted_and_the_rest() -> None:
    steps = Steps("r26-r8", "orc", batch_size=4)
    found = updates_of(steps.method, steps)
    assert steps.method.roles is not None
    (promoted,) = steps.method.roles.temporary_teachers
    rest = [name for name in steps.names if name not in ("resnet26", promoted)]
    assert found == (
        learned(steps, "resnet26"),
        learned(steps, promoted),
        learned(steps, *rest),
    )
    assert ballot_bytes(steps.method) == 2 * 3 * 4  # loss and accuracy of three students


@pytest.mark.parametrize(("method", "taught"), [("ce", 1), ("kd", 1), ("kdcl-naive", 3)])
def test_others_average_once_and_elect_nobody(method: str, taught: int) -> None:
    steps = Steps("r20-r8", method, batch_size=4)
    names = list(steps.method.optimizers)
    assert len(names) == taught
    assert updates_of(steps.method, steps) == (learned(steps, *names),)
    assert ballot_bytes(steps.method) == 0


def test_a_method_is_as_before_afterwards() -> None:
    steps = Steps("r20-r8", "ce", batch_size=4)
    updates_of(steps.method, steps)
    assert "update" not in vars(steps.method)
    with pytest.raises(ZeroDivisionError):
        updates_of(steps.method, lambda: 1 / 0)
    assert "update" not in vars(steps.method)
