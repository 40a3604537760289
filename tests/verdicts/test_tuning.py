"""The rule that chooses, and what the tables have of it."""

from __future__ import annotations

import pytest

from orc_repro.config import Params, load_params
from orc_repro.errors import UserError
from orc_repro.project import evaluated
from orc_repro.report.results import Result, read_results
from orc_repro.stages.reproduction import validation_accuracies
from orc_repro.verdicts import account
from orc_repro.verdicts.claims import CLAIMS, LEVELS, Tuning, load_claims
from orc_repro.verdicts.tuning import choices
from tests.project import ROOT
from tests.verdicts.made import result

TUNING = Tuning(recipe="brief", seed=9, methods=("tuned-kd",))


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(ROOT / "params.yaml")


def tried(group: str, **reached: float) -> tuple[list[Result], dict[str, float]]:
    runs = [
        result(
            f"tuned-kd-{level}", 9, 1.0, recipe="brief", group=group, fingerprint=f"{group}{level}"
        )
        for level in reached
    ]
    return runs, {f"{group}{level}": top1 for level, top1 in reached.items()}


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        # 30 + 20, 28 + 23, 25 + 25: the sum decides, not who is best anywhere.
        ((30.0, 28.0, 25.0), (20.0, 23.0, 25.0), "middle"),
        ((30.0, 28.0, 25.0), (20.0, 21.0, 24.0), "low"),
        ((30.0, 28.0, 31.0), (20.0, 21.0, 24.0), "high"),
        ((30.1, 30.2, 30.0), (20.2, 20.1, 20.0), "middle"),  # of equal sums
        ((30.0, 10.0, 20.0), (20.0, 10.0, 30.0), "low"),
    ],
)
def test_the_largest_sum_over_groups_is_chosen(
    params: Params, first: tuple[float, ...], second: tuple[float, ...], chosen: str
) -> None:
    runs, validation = tried("a", **dict(zip(LEVELS, first, strict=True)))
    more, values = tried("b", **dict(zip(LEVELS, second, strict=True)))
    (choice,) = choices(TUNING, params, runs + more, validation | values)
    assert choice.chosen == chosen
    assert (choice.parameter, dict(choice.values)) == (
        "beta", {"low": 0.3, "middle": 0.5, "high": 0.9},
    )  # fmt: skip
    shown = account.tuning([choice])
    assert shown.count("| chosen |") == 1
    assert f"| `tuned-kd` | beta 0.3 | {first[0]} (`a`), {second[0]} (`b`) |" in shown


def test_nothing_is_chosen_before_all_is_tried_and_nothing_else_counts(params: Params) -> None:
    runs, validation = tried("a", low=30.0, middle=31.0)
    other = [
        result("tuned-kd-high", 8, 1.0, recipe="brief", fingerprint="x"),
        result("tuned-kd-high", 9, 1.0, recipe="another", fingerprint="y"),
        result("tuned-kd", 9, 1.0, recipe="brief", fingerprint="z"),
    ]
    (choice,) = choices(TUNING, params, runs + other, validation)
    assert choice.chosen is None and choice.total("high") is None and choice.total("low") == 30
    assert "| beta 0.9 | not run |" in account.tuning([choice])


def test_variants_differ_in_one_parameter(params: Params) -> None:
    high = params.methods["tuned-kd-high"].model_copy(update={"temperature": 9.0})
    odd = params.model_copy(update={"methods": params.methods | {"tuned-kd-high": high}})
    with pytest.raises(UserError, match="of tuned-kd differ in temperature, beta"):
        choices(TUNING, odd, [], {})


def test_the_tables_have_the_value_that_was_chosen(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    claims = load_claims(params, CLAIMS)
    assert claims.tuning is not None
    results = [r for dataset in claims.datasets for r in read_results(evaluated(dataset))]
    found = choices(claims.tuning, params, results, validation_accuracies(results))
    counted = {r.method for r in results if r.recipe == claims.recipe}
    assert len(found) == 7
    for choice in found:
        if choice.method in counted:
            assert choice.chosen is not None, f"{choice.method} was run before it was tuned"
        if choice.chosen is not None:
            assert choice.entered == choice.values[choice.chosen], choice.method
