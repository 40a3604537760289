"""Statistics of a few seeds, against tables and hand calculation."""

from __future__ import annotations

import pytest

from orc_repro.report.statistics import direction, p_value, paired_difference, summarise


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


@pytest.mark.parametrize(
    "values",
    [
        [5.0],
        [5.0, 5.0],
        [5.0, 5.1],
        [5.0, 5.0, 5.0],
        [0.0, 0.0, 0.0],
        [0.3, 0.1 + 0.2, 3 * 0.1],  # equal but for the rounding of binary fractions
    ],
)
def test_few_or_equal_differences_decide_nothing(values: list[float]) -> None:
    for sign in (1, -1):
        summary = summarise([sign * value for value in values])
        assert (direction(summary), p_value(summary)) == (0, None)


def test_equal_values_have_a_deviation_of_zero_and_no_interval() -> None:
    summary = summarise([0.3, 0.1 + 0.2, 3 * 0.1])
    assert (summary.sd, summary.low, summary.high) == (0.0, None, None)


def test_an_interval_without_zero_has_the_sign_of_the_mean() -> None:
    assert direction(summarise([4.0, 5.0, 6.0])) == 1
    assert direction(summarise([-4.0, -5.0, -6.0])) == -1
    assert direction(summarise([1.0, 2.0, 3.0])) == 0
    assert p_value(summarise([4.0, 5.0, 6.0])) == pytest.approx(1 - 75**0.5 / 77**0.5)
    assert (direction(None), p_value(None)) == (0, None)
