"""Who waits for whom: workers of irregular speed that meet several times in an iteration.

Every worker's part between two meetings takes a random time; at a meeting all wait for the
slowest. Drawn, not derived: there is no closed form for the greatest of many lognormal numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Times]

ITERATIONS = 1000


def lognormal_parts(jitter: float, meetings: int) -> Draw:
    """Times of the parts of an iteration, with a mean of 1.

    Args:
        jitter: standard deviation of the logarithm of a whole iteration's time.
        meetings: parts of an iteration. Parts vary independently, so that a whole iteration varies
            as measured: each has ``meetings`` times the relative variance.
    """
    variance = math.expm1(jitter**2)
    deviation = math.sqrt(math.log1p(meetings * variance))

    def draw(generator: np.random.Generator, shape: tuple[int, ...]) -> Times:
        return generator.lognormal(-(deviation**2) / 2, deviation, shape)

    return draw


def slowdown(
    workers: int, meetings: int, draw: Draw, seed: int = 0, iterations: int = ITERATIONS
) -> float:
    """How much longer an iteration is than the mean worker's own: 1 if nobody waits."""
    times = draw(np.random.default_rng(seed), (iterations, meetings, workers))
    return float(times.max(axis=2).sum() / times.mean(axis=2).sum())


def jitter_of(seconds: Sequence[float]) -> float:
    """Standard deviation of the logarithms of some times."""
    return float(np.std(np.log(seconds), ddof=1))
