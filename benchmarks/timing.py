"""Comparing variants in one process: interleaved, so that a noisy machine is noisy for all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def seconds_of(work: Callable[[], object]) -> float:
    """How long a piece of work takes, on a GPU as well."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def interleaved(
    variants: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, tuple[float, float]]:
    """Each variant once a round, after one round that is not counted.

    Returns:
        by variant: the median seconds of a round, and the median over rounds of its ratio to the
        first variant in the same round.
    """
    times: dict[str, list[float]] = {name: [] for name in variants}
    for i in range(rounds + 1):
        # Every second round backwards: who comes first gains nothing.
        names = list(variants)[:: 1 if i % 2 else -1]
        for name in names:
            took = seconds_of(variants[name])
            if i:
                times[name].append(took)
    return compared(times)


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
