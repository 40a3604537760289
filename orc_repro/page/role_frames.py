"""Role changes as what a figure shows: shares, promotions, margins, agreement, tenures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from orc_repro.stages.roles import tenures

BINS = 800
"""Of a timeline: about one a pixel, so that 100,000 iterations draw as fast as 1,000."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RoleLog:
    """A run's role changes, and what is needed to read them.

    Attributes:
        changes: with the columns of ``tracking.records.role_table``.
        students: the candidates, in the order of the group.
        epochs: how many the run had.
        steps_per_epoch: iterations of each.
        validation: for each epoch, validation accuracy in percent after it by student; those
            where it is not known, or not finite, are left out.
    """

    changes: pd.DataFrame
    students: tuple[str, ...]
    epochs: int
    steps_per_epoch: int
    validation: Sequence[Mapping[str, float]]

    @property
    def steps(self) -> int:
        """Iterations of the run."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class RoleFrames:
    """What is shown of a run's roles; see the functions of the same names."""

    timeline: pd.DataFrame
    by_epoch: pd.DataFrame
    lengths: pd.DataFrame


def role_frames(log: RoleLog) -> RoleFrames:
    """All of a run's frames."""
    return RoleFrames(timeline(log), by_epoch(log), lengths(log))


def timeline(log: RoleLog, bins: int = BINS) -> pd.DataFrame:
    """Each student's share of stretches of equal length as temporary teacher.

    Columns: ``step``, where the stretch begins, and ``share/<student>``. With no more iterations
    than ``bins`` a stretch is an iteration, and a share 0 or 1.
    """
    edges = np.linspace(0, log.steps, min(bins, log.steps) + 1)
    return pd.DataFrame({"step": edges[:-1]} | _shares(log, edges))


def by_epoch(log: RoleLog) -> pd.DataFrame:
    """A row an epoch, counted from 1.

    Columns:
        ``changes``: how many.
        ``share/<student>``: of iterations as temporary teacher.
        ``promotions/<student>``: of the epoch's promotions (the paper's Figure 4); NaN where there
        was none.
        ``margin_low``, ``margin_median``, ``margin_high``: quartiles, over the epoch's changes, of
        second-lowest - lowest score; NaN where no change had two finite scores.
        ``agreement``: the share of iterations in which a temporary teacher was the student, or one
        of those, with the highest validation accuracy after the epoch; NaN where that is not known.
    """
    edges = np.arange(log.epochs + 1, dtype=np.float64) * log.steps_per_epoch
    epoch = log.changes["epoch"].to_numpy(np.int64)
    counts = np.bincount(epoch, minlength=log.epochs)
    found: dict[str, object] = {"epoch": np.arange(1, log.epochs + 1), "changes": counts}
    found |= _shares(log, edges) | _promotions(log, epoch)
    quartiles = np.full((log.epochs, 3), np.nan)
    for number, of_epoch in _margins(log).groupby(epoch):
        known = of_epoch.dropna()
        if len(known):
            quartiles[int(str(number))] = np.quantile(known, [0.25, 0.5, 0.75])
    for name, values in zip(("low", "median", "high"), quartiles.T, strict=True):
        found[f"margin_{name}"] = values
    return pd.DataFrame(found | {"agreement": _agreement(log, edges)})


def lengths(log: RoleLog) -> pd.DataFrame:
    """How long tenures were: iterations from a promotion to the demotion, or to the run's end.

    Columns: ``at_least`` and ``below``, the bounds of a class, each twice as wide as the one
    before, and ``tenures/<student>``, how many of that length.
    """
    found = tenures(log.changes, log.steps)
    longest = max((tenure.steps for tenure in found), default=1)
    bounds = 2 ** np.arange(int(longest).bit_length() + 1)
    classes: dict[str, object] = {"at_least": bounds[:-1], "below": bounds[1:]}
    for name in log.students:
        steps = [tenure.steps for tenure in found if tenure.network == name]
        classes[f"tenures/{name}"] = np.histogram(steps, bounds)[0]
    return pd.DataFrame(classes)


def _shares(log: RoleLog, edges: Floats) -> dict[str, Floats]:
    covered = _covered(log, edges)
    return {
        f"share/{name}": sum(
            (share for who, share in covered.items() if name in who), np.zeros(len(edges) - 1)
        )
        for name in log.students
    }


def _covered(log: RoleLog, edges: Floats) -> dict[frozenset[str], Floats]:
    """For each set of temporary teachers there was, its share of each stretch between edges."""
    begin = log.changes["step"].to_numpy(np.float64)
    length = np.diff(begin, append=float(log.steps))
    who = log.changes["teachers"].to_numpy(dtype=object)
    found = {}
    for teachers in dict.fromkeys(who):
        # What this set had covered by the time t is linear between where each change left it.
        covered = np.concatenate([[0.0], np.cumsum(np.where(who == teachers, length, 0.0))])
        times = np.append(begin, log.steps)
        found[frozenset(teachers.split("+"))] = np.diff(np.interp(edges, times, covered))
    return {teachers: share / np.diff(edges) for teachers, share in found.items()}


def _promotions(log: RoleLog, epoch: NDArray[np.int64]) -> dict[str, Floats]:
    came = log.changes["came"].to_numpy(dtype=object)
    promoted = {
        name: np.bincount(
            epoch[[name in names.split("+") for names in came]], minlength=log.epochs
        ).astype(np.float64)
        for name in log.students
    }
    every = sum(promoted.values(), np.zeros(log.epochs))
    every[every == 0] = np.nan
    return {f"promotions/{name}": counts / every for name, counts in promoted.items()}


def _margins(log: RoleLog) -> pd.Series[float]:
    scores = log.changes[[f"score/{name}" for name in log.students]].to_numpy(np.float64)
    if scores.shape[1] < 2:
        return pd.Series(np.full(len(scores), np.nan))
    lowest = np.sort(np.where(np.isfinite(scores), scores, np.nan), axis=1)  # NaN comes last
    return pd.Series(lowest[:, 1] - lowest[:, 0])


def _agreement(log: RoleLog, edges: Floats) -> Floats:
    agreed = np.full(log.epochs, np.nan)
    covered = _covered(log, edges)
    for epoch, accuracy in enumerate(log.validation):
        if not set(log.students) <= set(accuracy):
            continue
        best = {name for name in log.students if accuracy[name] == max(accuracy.values())}
        agreed[epoch] = sum(share[epoch] for who, share in covered.items() if who & best)
    return agreed
