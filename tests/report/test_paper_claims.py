"""Published orders of methods, and what our cells say of them."""

from __future__ import annotations

from typing import Any

import pytest

from orc_repro.published.tables import PaperTable
from tests.report.made_paper import (
    ERR1,
    PAIR,
    columns_of,
    comparison,
    paper,
    published,
    result,
    row,
    runs_of,
)

SEEDS = (70.0, 71.0, 75.0)


def claims_of(*claims: dict[str, Any]) -> PaperTable:
    return published("own", {"row": "ORC", "values": {"a": 72.0}}, claims=claims)


ORDER = {"better": "elected", "worse": "fixed"}
NAMES = {"orc": ["ORC", "elected"], "orc-fixed": ["fixed"]}


# By seed +1, +2, +3: mean 2, sd 1, half 4.303 / sqrt(3) = 2.484. By +4, +5, +6 it excludes zero.
@pytest.mark.parametrize(
    ("better", "mean", "verdict"),
    [
        ((71.0, 73.0, 78.0), 2.0, "undecided"),
        ((74.0, 76.0, 81.0), 5.0, "agrees"),
        ((66.0, 66.0, 69.0), -5.0, "contradicts"),
        ((69.0, 69.0, 72.0), -2.0, "undecided"),
    ],
)
def test_a_claim_is_decided_by_the_paired_interval(
    better: tuple[float, ...], mean: float, verdict: str
) -> None:
    half = 4.302653 / 3**0.5
    rows = (runs_of("orc-fixed", *SEEDS), runs_of("orc", *better))
    # In a study of errors too: fewer errors are better, and the claim is about accuracy.
    of = paper(tables=["own"], names=NAMES, metric=ERR1)
    (line,) = columns_of(comparison(*rows), tables=(claims_of(ORDER),), of=of).claims
    found = line.difference
    assert found is not None
    assert [found.mean, found.low, found.high] == pytest.approx([mean, mean - half, mean + half])
    assert (line.verdict, line.better, line.worse, line.networks) == (
        verdict, "orc", "orc-fixed", PAIR,
    )  # fmt: skip


def test_a_claim_of_what_was_not_run_or_has_one_seed() -> None:
    of = paper(tables=["own"], names=NAMES)
    for ours, verdict, flags in (
        (row("orc"), "not run", ()),
        (row("orc", result("orc", 0, 99.0)), "undecided", ("1 of 3 seeds",)),
        (row("orc", result("orc", 9, 99.0)), "undecided", ("1 of 3 seeds",)),  # no seed in common
    ):
        rows = comparison(ours, runs_of("orc-fixed", *SEEDS))
        (line,) = columns_of(rows, tables=(claims_of(ORDER),), of=of).claims
        assert (line.verdict, line.flags) == (verdict, flags)


@pytest.mark.parametrize("seeds", [2, 3])
def test_equal_differences_agree_with_no_claim(seeds: int) -> None:
    rows = (runs_of("orc-fixed", *SEEDS[:seeds]), runs_of("orc", *(s + 5 for s in SEEDS[:seeds])))
    of = paper(tables=["own"], names=NAMES)
    (line,) = columns_of(comparison(*rows), tables=(claims_of(ORDER),), of=of).claims
    assert line.difference is not None and line.difference.mean == 5.0
    assert line.verdict == "undecided"


def test_a_claim_needs_a_method_of_ours_on_both_sides_and_its_networks() -> None:
    unnamed = ORDER | {"worse": "every other method of the table"}
    elsewhere = ORDER | {"networks": "a -> b"}
    rows = comparison(runs_of("orc", *SEEDS), runs_of("orc-fixed", *SEEDS))
    of = paper(tables=["own"], names=NAMES)
    lines = columns_of(rows, tables=(claims_of(unnamed, elsewhere),), of=of).claims
    assert [line.verdict for line in lines] == ["no method of ours", "not run"]
    assert [(line.networks, line.comparison) for line in lines] == [(None, None), ("a -> b", None)]


def test_a_claim_of_cells_by_another_protocol_says_so() -> None:
    rows = (runs_of("orc", *SEEDS, epochs=15), runs_of("orc-fixed", *SEEDS))
    of = paper(tables=["own"], names=NAMES)
    (line,) = columns_of(comparison(*rows), tables=(claims_of(ORDER),), of=of).claims
    assert line.flags == ("epochs 15, not 240",)


def test_a_claim_of_an_unknown_protocol_says_so() -> None:
    rows = (runs_of("orc", *SEEDS), runs_of("orc-fixed", *SEEDS))
    of = paper(tables=["own"], names=NAMES)
    tables = (claims_of(ORDER | {"protocol": None}),)
    (line,) = columns_of(comparison(*rows), tables=tables, of=of).claims
    assert line.flags == ("claims of own: protocol unknown or different",)
    (line,) = columns_of(comparison(row("orc"), row("orc-fixed")), tables=tables, of=of).claims
    assert line.flags == ()
