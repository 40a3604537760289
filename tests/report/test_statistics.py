"""Statistics of a few seeds, against tables and hand calculation."""

from __future__ import annotations

import pytest

from orc_repro.report.statistics import paired_difference, summarise


def test_mean_and_sample_deviation_by_hand() -> None:
    summary = summarise([1.0, 2.0, 6.0])  # deviations -2, -1, 3: 14 / 2 = 7
    assert (summary.n, summary.mean) == (3, 3.0)
    assert summary.sd == pytest.approx(7**0.5)


def test_the_interval_uses_students_t() -> None:
    summary = summarise([1.0, 2.0, 6.0])
    half = 4.302653 * 7**0.5 / 3**0.5  # t at 0.975 with 2 degrees of freedom, from a table
    assert summary.low == pytest.approx(3 - half, abs=1e-5)
    assert summary.high == pytest.approx(3 + half, abs=1e-5)


def test_one_value_has_no_spread() -> None:
    summary = summarise([5.0])
    assert (summary.n, summary.mean, summary.sd, summary.low) == (1, 5.0, None, None)


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        summarise([])


def test_differences_are_taken_seed_by_seed_where_both_have_one() -> None:
    summary = paired_difference({0: 5.0, 1: 7.0, 3: 99.0}, {0: 4.0, 1: 4.0, 2: 0.0})
    assert summary is not None
    assert (summary.n, summary.mean) == (2, 2.0)
    assert summary.sd == pytest.approx(2**0.5)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
