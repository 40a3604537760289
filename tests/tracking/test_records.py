"""What is read from a record of a run's log."""

from __future__ import annotations

import math

import pytest

from orc_repro.tracking.records import RoleRecord, best_teacher


@pytest.mark.parametrize(
    ("teachers", "scores", "best"),
    [
        (("a", "b"), {"a": 0.5, "b": 0.4, "c": 0.1}, "b"),
        (("a", "b"), {"a": 0.4, "b": 0.5, "c": 0.1}, "a"),
        (("a", "b"), {"a": 0.5, "b": 0.5}, "a"),
        (("a", "b"), {"a": math.nan, "b": 0.5}, "b"),
        (("a", "b"), {"b": 0.5}, "b"),
        (("a",), {}, "a"),
        ((), {"a": 0.5}, None),
    ],
)
def test_the_best_teacher_has_the_lowest_score(
    teachers: tuple[str, ...], scores: dict[str, float], best: str | None
) -> None:
    record = RoleRecord(
        time_ms=0, epoch=0, step=0, left=(), came=teachers, teachers=teachers, scores=scores
    )
    assert best_teacher(record) == best
