"""Mean, spread and intervals of a few seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit


@dataclass(frozen=True)
class Summary:
    """n values: mean; sample standard deviation (ddof 1) and 95 % interval by Student's t.

    With one value there is no spread, and ``sd``, ``low`` and ``high`` are None.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


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
