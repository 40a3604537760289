"""Roles, and the election that changes them: plain data and pure functions.

An election compares *scores*; the lowest wins. Scores are Python numbers: a group has a handful
of students, and the host has to know who was elected to step the right optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Roles:
    """Who is what in one iteration; every network of the group has exactly one role.

    ``temporary_teachers`` and ``students`` keep the order in which the group was declared, so two
    equal groups of teachers compare equal whoever was ranked first.
    """

    pivot: str | None
    temporary_teachers: tuple[str, ...]
    students: tuple[str, ...]

    def __post_init__(self) -> None:
        names = [*self.temporary_teachers, *self.students]
        if self.pivot is not None:
            names.append(self.pivot)
        if len(set(names)) != len(names):
            raise ValueError(f"a network has more than one role: {names}")


@dataclass(frozen=True)
class RoleChange:
    """One change of the temporary teachers: who left, who came, and every candidate's score."""

    epoch: int
    step: int
    left: tuple[str, ...]
    came: tuple[str, ...]
    teachers: tuple[str, ...]
    scores: Mapping[str, float]


def role_change(
    before: Roles | None, after: Roles | None, scores: Mapping[str, float], epoch: int, step: int
) -> RoleChange | None:
    """The change between two iterations' roles, or None if nobody changed role."""
    if before is None or after is None or before == after:
        return None
    left = tuple(n for n in before.temporary_teachers if n not in after.temporary_teachers)
    came = tuple(n for n in after.temporary_teachers if n not in before.temporary_teachers)
    return RoleChange(epoch, step, left, came, after.temporary_teachers, dict(scores))


@dataclass(frozen=True)
class Memory:
    """Each student's smoothed mean loss and accuracy; empty before the first iteration."""

    loss: Mapping[str, float] = field(default_factory=dict)
    accuracy: Mapping[str, float] = field(default_factory=dict)

    def updated(
        self, losses: Mapping[str, float], accuracies: Mapping[str, float], smoothing: float
    ) -> Memory:
        """An exponential mean over iterations; a value that is not finite is not remembered."""
        return Memory(
            _smoothed(self.loss, losses, smoothing), _smoothed(self.accuracy, accuracies, smoothing)
        )


def _smoothed(
    old: Mapping[str, float], new: Mapping[str, float], smoothing: float
) -> dict[str, float]:
    mixed = {}
    for name, value in new.items():
        previous = old.get(name, value)
        if not math.isfinite(value):
            mixed[name] = previous
        elif math.isfinite(previous):
            mixed[name] = smoothing * previous + (1 - smoothing) * value
        else:
            mixed[name] = value
    return mixed


def score_students(
    criterion: str,
    before: Memory,
    after: Memory,
    losses: Mapping[str, float],
) -> dict[str, float]:
    """Each student's score, the lowest the best; a student whose loss is not finite gets NaN.

    ``loss``: smoothed mean cross-entropy. ``accuracy``: smoothed error rate. ``improvement``:
    minus the relative drop of the student's own smoothed loss since the last iteration, so that
    networks of different depth compete on equal terms (0 at the first iteration).
    """
    scores = {}
    for name, loss in losses.items():
        if not math.isfinite(loss):
            scores[name] = math.nan
        elif criterion == "loss":
            scores[name] = after.loss[name]
        elif criterion == "accuracy":
            scores[name] = 1 - after.accuracy[name]
        elif criterion == "improvement":
            previous = before.loss.get(name, after.loss[name])
            scores[name] = after.loss[name] / previous - 1 if previous > 0 else 0.0
        else:
            raise ValueError(f"unknown ranking criterion {criterion!r}")
    return scores


def elect(
    scores: Mapping[str, float],
    accuracies: Mapping[str, float],
    incumbent: Roles,
    *,
    top_k: int,
    margin: float,
    min_accuracy: float,
) -> Roles:
    """The next iteration's roles: the ``top_k`` best candidates become temporary teachers.

    A candidate has a finite score and at least ``min_accuracy``; if there is none, nobody is
    promoted and the pivot teaches alone. A challenger must beat an incumbent by more than
    ``margin`` (hysteresis). On a tie the incumbent stays, and among others the one declared
    first wins, so that an election never depends on chance.

    Raises:
        ValueError: top_k is not within 0..number of students.
    """
    if not 0 <= top_k <= len(scores):
        raise ValueError(f"top_k must be 0..{len(scores)}, got {top_k}")
    names = list(scores)
    holds = {name: name in incumbent.temporary_teachers for name in names}
    candidates = [
        name for name in names if math.isfinite(scores[name]) and accuracies[name] >= min_accuracy
    ]
    ranked = sorted(
        candidates,
        key=lambda name: (
            scores[name] - (margin if holds[name] else 0.0),
            not holds[name],
            names.index(name),
        ),
    )
    promoted = set(ranked[:top_k])
    return Roles(
        pivot=incumbent.pivot,
        temporary_teachers=tuple(name for name in names if name in promoted),
        students=tuple(name for name in names if name not in promoted),
    )
