"""Mean, spread, intervals and decisions of a few seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

LEAST_SEEDS = 3
"""With fewer paired differences nothing is decided: two that are alike by chance look certain."""
ROUNDING = 1e-9
"""Difference up to which two values count as equal, relative to the larger one if above 1."""


@dataclass(frozen=True)
class Summary:
    """n values: mean; sample standard deviation (ddof 1) and 95 % interval by Student's t.

    With one value there is no spread, and ``sd``, ``low`` and ``high`` are None. The spread of
    equal values is degenerate: ``sd`` is 0, and there is no interval either.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None

    @property
    def decides(self) -> bool:
        """Whether a test may use these values: at least ``LEAST_SEEDS``, not all equal."""
        return self.n >= LEAST_SEEDS and self.low is not None


def summarise(values: Sequence[float]) -> Summary:
    """Summarise one value a seed.

    The t-interval covers at n = 3 what it says; a percentile bootstrap covers 76 % there.

    Raises:
        ValueError: no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("no values to summarise")
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(1, mean, None, None, None)
    if max(values) - min(values) <= ROUNDING * max(1.0, *map(abs, values)):
        return Summary(n, mean, 0.0, None, None)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(stdtrit(n - 1, 0.975)) * sd / math.sqrt(n)
    return Summary(n, mean, sd, mean - half, mean + half)


def paired_difference(ours: dict[int, float], theirs: dict[int, float]) -> Summary | None:
    """Summary of ours - theirs over the seeds both have; None if there is no such seed.

    Seeds are paired because two methods of one seed share the target's initial weights and the
    order and augmentation of every batch.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    return summarise([ours[seed] - theirs[seed] for seed in seeds]) if seeds else None


def direction(difference: Summary | None) -> int:
    """Return the sign of a mean difference if its 95 % interval excludes zero, else 0.

    Fewer than ``LEAST_SEEDS`` differences, or equal ones, never have a direction.
    """
    if difference is None or not difference.decides:
        return 0
    assert difference.low is not None and difference.high is not None
    return (difference.low > 0) - (difference.high < 0)


def p_value(difference: Summary | None) -> float | None:
    """Test a mean difference against zero: two-sided, Student's t with n - 1 degrees of freedom.

    Returns:
        None with fewer than ``LEAST_SEEDS`` differences, or with equal ones.
    """
    if difference is None or not difference.decides or not difference.sd:
        return None
    t = abs(difference.mean) * math.sqrt(difference.n) / difference.sd
    return float(2 * stdtr(difference.n - 1, -t))
