"""Waiting against what is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orc_repro.scaling.simulation import Times, jitter_of, lognormal_parts, slowdown


def exponential(generator: np.random.Generator, shape: tuple[int, ...]) -> Times:
    return generator.exponential(1.0, shape)


@pytest.mark.parametrize("workers", [2, 8, 64])
@pytest.mark.parametrize("meetings", [1, 4])
def test_the_last_of_n_exponentials_comes_after_the_nth_harmonic_number(
    workers: int, meetings: int
) -> None:
    harmonic = sum(1 / i for i in range(1, workers + 1))
    found = slowdown(workers, meetings, exponential, iterations=20_000 // meetings)
    assert found == pytest.approx(harmonic, rel=0.03)


@pytest.mark.parametrize("jitter", [0.05, 0.5])
def test_the_later_of_two_lognormals(jitter: float) -> None:
    # E max(X, Y) = 2 Phi(s / sqrt 2) for a mean of 1, and Phi(x) = (1 + erf(x / sqrt 2)) / 2.
    wanted = 1 + math.erf(jitter / 2)
    found = slowdown(2, 1, lognormal_parts(jitter, 1), iterations=100_000)
    assert found == pytest.approx(wanted, rel=0.005)


def test_who_works_alone_or_as_steadily_as_all_waits_for_nobody() -> None:
    assert slowdown(1, 4, lognormal_parts(0.7, 4)) == 1.0
    assert slowdown(512, 4, lognormal_parts(0.0, 4), iterations=10) == pytest.approx(1.0)


def test_parts_have_a_mean_of_one_and_together_the_variance_of_the_whole() -> None:
    jitter, meetings = 0.3, 4
    parts = lognormal_parts(jitter, meetings)(np.random.default_rng(0), (200_000, meetings))
    whole = parts.mean(axis=1)
    assert whole.mean() == pytest.approx(1.0, rel=0.005)
    assert whole.var() == pytest.approx(math.exp(jitter**2) - 1, rel=0.03)


def test_more_workers_and_more_meetings_mean_more_waiting() -> None:
    found = [
        [slowdown(workers, meetings, lognormal_parts(0.2, meetings)) for workers in (1, 8, 64, 512)]
        for meetings in (1, 4)
    ]
    assert all(row == sorted(row) and len(set(row)) == 4 for row in found)
    assert all(often > once for once, often in zip(found[0][1:], found[1][1:], strict=True))


def test_the_same_seed_gives_the_same_number() -> None:
    draw = lognormal_parts(0.2, 4)
    assert slowdown(8, 4, draw, seed=3) == slowdown(8, 4, draw, seed=3)
    assert slowdown(8, 4, draw, seed=3) != slowdown(8, 4, draw, seed=4)


def test_jitter_is_the_deviation_of_logarithms() -> None:
    assert jitter_of([1.0, math.e, math.e**2]) == pytest.approx(1.0)
