"""Against numbers worked out by hand and SciPy's own tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from orc_repro.verdicts.paired import difference, holm

BETTER, WORSE = {0: 50.0, 1: 53.0, 2: 51.5, 3: 52.0}, {0: 49.0, 1: 50.0, 2: 51.0, 4: 80.0}


def test_a_difference_is_paired_by_seed_and_welchs_is_not() -> None:
    found = difference(BETTER, WORSE)
    # 1, 3, 0.5: mean 1.5, squares of deviations 0.25 + 2.25 + 1 over 2.
    assert found.paired is not None and found.paired.n == 3
    assert found.paired.mean == 1.5 and found.paired.sd == pytest.approx(math.sqrt(1.75))
    theirs = stats.ttest_rel([50.0, 53.0, 51.5], [49.0, 50.0, 51.0])
    assert found.p == pytest.approx(theirs.pvalue)
    interval = stats.ttest_ind([*BETTER.values()], [*WORSE.values()], equal_var=False)
    bounds = interval.confidence_interval(0.95)
    assert found.welch == pytest.approx((bounds.low, bounds.high))


def test_too_few_seeds_have_no_p_value() -> None:
    assert difference({}, {0: 1.0}).paired is None
    alone = difference({0: 2.0}, {0: 1.0})
    assert (alone.p, alone.welch) == (None, None) and alone.paired is not None
    two = difference({0: 2.0, 1: 3.0}, {0: 1.0, 1: 1.0})
    assert two.p is None and two.welch is not None


def test_values_without_a_spread_have_neither_a_p_value_nor_welchs_interval() -> None:
    same = difference({0: 1.0, 1: 1.0, 2: 1.0}, {0: 0.5, 1: 0.5, 2: 0.5})
    assert same.paired is not None and same.paired.mean == 0.5
    assert (same.p, same.welch) == (None, None)


def test_holm_is_as_worked_out_by_hand() -> None:
    # 0.01 x 4; 0.03 x 3; 0.04 x 2, but not below the one before; 0.5 x 1.
    assert holm([0.04, 0.01, 0.5, 0.03]) == pytest.approx([0.09, 0.04, 0.5, 0.09])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    # A test that was not run counts among them and has no value of its own.
    assert holm([0.01, None]) == [0.02, None]
    assert holm([]) == []


def test_holm_keeps_the_rate_of_false_findings() -> None:
    generator = np.random.default_rng(0)
    wrong = sum(
        min(value for value in holm(generator.uniform(size=5).tolist()) if value is not None) < 0.05
        for _ in range(4000)
    )
    assert wrong / 4000 == pytest.approx(0.05, abs=0.012)
