"""The list of methods."""

from __future__ import annotations

from pathlib import Path

from orc_repro.config import load_params
from orc_repro.distill import METHODS, SOURCES
from orc_repro.methods import overview

ROOT = Path(__file__).parents[1]


def test_every_method_has_one_line_and_every_kind_a_source() -> None:
    params = load_params(ROOT / "params.yaml")
    lines = overview(params)
    assert [line.split()[0] for line in lines] == list(params.methods)
    assert set(SOURCES) == set(METHODS) == {method.kind for method in params.methods.values()}


def test_a_variant_says_what_it_changes_and_nothing_else() -> None:
    lines = {line.split()[0]: line.split("  ", 1)[1].strip() for line in overview(load_params(
        ROOT / "params.yaml"
    ))}  # fmt: skip
    assert lines["kd"] == "Hinton, Vinyals, Dean 2015: one frozen teacher"
    assert lines["kd-half"] == "kd with beta 0.5"
    assert lines["kdcl-linear"] == "kdcl-naive with ensemble linear"
    assert lines["orc-deepest"] == "orc with promotion.rule deepest"
    assert lines["orc-group-only"] == ("orc with intensive.material none, teaching.private False")
    # Only those of the scaled reproduction, as long as nothing is tuned.
    assert all(name.startswith("tuned-") for name, told in lines.items() if "tuned apart" in told)
    assert lines["tuned-orc"] == "as orc, to be tuned apart"
