"""Comparing variants in one process: interleaved, so that a noisy machine is noisy for all."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orc_repro.rehearsal import seconds_of

NOISY = 1.5


def interleaved(
    variants: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, tuple[float, float]]:
    """Each variant once a round, after one round that is not counted.

    Returns:
        by variant: the median seconds of a round, and the median over rounds of its ratio to the
        first variant in the same round.
    """
    return compared(rounds_of(variants, rounds))


def rounds_of(variants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """By variant the seconds of each round, without a first one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for i in range(rounds + 1):
        # Every second round backwards: who comes first gains nothing.
        names = list(variants)[:: 1 if i % 2 else -1]
        for name in names:
            took = seconds_of(variants[name])
            if i:
                times[name].append(took)
    return times


def best(work: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest of some rounds, after one that is not counted."""
    work()
    return min(seconds_of(work) for _ in range(rounds))


@dataclass(frozen=True)
class Fastest:
    """The fastest round of a variant: what the machine can do when nobody disturbs it.

    Attributes:
        seconds: of the fastest round.
        times_faster: the first variant's fastest round in units of this one's.
        noisy: the median round took half as much again as the fastest: measure once more.
    """

    seconds: float
    times_faster: float
    noisy: bool


def fastest(times: Mapping[str, list[float]]) -> dict[str, Fastest]:
    """Of each variant its fastest round, beside the first variant's."""
    first = min(next(iter(times.values())))
    return {
        name: Fastest(min(found), first / min(found), statistics.median(found) > NOISY * min(found))
        for name, found in times.items()
    }


def compared(times: Mapping[str, list[float]]) -> dict[str, tuple[float, float]]:
    """Of each variant, the median and the median ratio to the first variant's same round."""
    first = next(iter(times.values()))
    return {
        name: (
            statistics.median(found),
            statistics.median(ours / base for ours, base in zip(found, first, strict=True)),
        )
        for name, found in times.items()
    }


def show(title: str, found: Mapping[str, tuple[float, float]], per: int, unit: str) -> None:
    """Print a small table; ``per`` is how many units a round has."""
    print(title)
    for name, (seconds, ratio) in found.items():
        print(f"  {name:32} {1000 * seconds / per:9.3f} ms/{unit}   x{ratio:.3f}")
