"""One test: a difference of two methods over seeds, its interval and its p-value; and several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from orc_repro.report.statistics import Summary, p_value, paired_difference, summarise

Values = Mapping[int, float]
"""By seed, the target's test accuracy in percent."""


@dataclass(frozen=True)
class Difference:
    """Better - worse.

    Attributes:
        paired: over the seeds that both have; None if there is none.
        p: see :func:`orc_repro.report.statistics.p_value`.
        welch: 95 % interval of the difference of means without pairing; None with fewer than two
            seeds on either side, or where neither side has a spread.
    """

    paired: Summary | None
    p: float | None
    welch: tuple[float, float] | None


def difference(better: Values, worse: Values) -> Difference:
    """Compare two methods; seeds that only one of them has count for Welch's interval alone."""
    paired = paired_difference(dict(better), dict(worse))
    return Difference(paired, p_value(paired), _welch([*better.values()], [*worse.values()]))


def _welch(a: Sequence[float], b: Sequence[float]) -> tuple[float, float] | None:
    if min(len(a), len(b)) < 2:
        return None
    first, second = summarise(a), summarise(b)
    assert first.sd is not None and second.sd is not None
    parts = [of.sd**2 / of.n for of in (first, second) if of.sd is not None]
    error = sum(parts)
    middle = first.mean - second.mean
    if error == 0:
        return None
    freedom = error**2 / (parts[0] ** 2 / (first.n - 1) + parts[1] ** 2 / (second.n - 1))
    half = float(stdtrit(freedom, 0.975)) * math.sqrt(error)
    return middle - half, middle + half


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for their number by Holm (1979); a test without one counts among them."""
    known = sorted((p, i) for i, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(values) - rank) * p))
        adjusted[i] = highest
    return adjusted
