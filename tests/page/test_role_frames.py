"""Three role changes of two students, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from orc_repro.page.role_frames import RoleLog, by_epoch, lengths, role_frames, timeline

NAN = float("nan")

# a teaches in iterations 0-2, b in 3-9, both in 10-15.
LOG = RoleLog(
    changes=pd.DataFrame(
        {
            "epoch": [0, 0, 1],
            "step": [0, 3, 10],
            "left": ["", "a", ""],
            "came": ["a", "b", "a"],
            "teachers": ["a", "b", "a+b"],
            "score/a": [0.5, 0.9, 0.25],
            "score/b": [0.7, 0.4, NAN],
        }
    ),
    students=("a", "b"),
    epochs=2,
    steps_per_epoch=8,
    validation=[{"a": 40.0, "b": 60.0}, {"a": 80.0, "b": 70.0}],
)


def test_an_epoch_has_shares_promotions_margins_and_agreement() -> None:
    pd.testing.assert_frame_equal(
        by_epoch(LOG),
        pd.DataFrame(
            {
                "epoch": [1, 2],
                "changes": [2, 1],
                "share/a": [3 / 8, 6 / 8],
                "share/b": [5 / 8, 8 / 8],
                "promotions/a": [0.5, 1.0],
                "promotions/b": [0.5, 0.0],
                # Margins 0.2 and 0.5; then one candidate's loss was not finite.
                "margin_low": [0.275, NAN],
                "margin_median": [0.35, NAN],
                "margin_high": [0.425, NAN],
                # b was best in the first epoch, a in the second.
                "agreement": [5 / 8, 6 / 8],
            }
        ),
    )


def test_any_of_the_best_in_validation_agrees_and_an_unknown_one_is_no_disagreement() -> None:
    tie = [{"a": 50.0, "b": 50.0}, {"a": 80.0}]
    agreement = by_epoch(replace(LOG, validation=tie))["agreement"]
    np.testing.assert_allclose(agreement, [1.0, NAN])


def test_a_timeline_has_shares_of_equal_stretches() -> None:
    found = timeline(LOG, bins=4)
    assert found["step"].tolist() == [0, 4, 8, 12]
    assert found["share/a"].tolist() == pytest.approx([0.75, 0, 0.5, 1])
    assert found["share/b"].tolist() == pytest.approx([0.25, 1, 1, 1])
    each = timeline(LOG)
    assert each["share/a"].tolist() == pytest.approx([1] * 3 + [0] * 7 + [1] * 6)


def test_tenures_are_counted_by_length() -> None:
    found = lengths(LOG)  # a 3 and 6 iterations, b 13
    assert found["at_least"].tolist() == [1, 2, 4, 8]
    assert found["below"].tolist() == [2, 4, 8, 16]
    assert found["tenures/a"].tolist() == [0, 1, 1, 0]
    assert found["tenures/b"].tolist() == [0, 0, 0, 1]


def test_a_run_without_a_role_change_has_frames_too() -> None:
    frames = role_frames(replace(LOG, changes=LOG.changes.iloc[:0]))
    assert frames.by_epoch["changes"].tolist() == [0, 0]
    assert frames.by_epoch["share/a"].tolist() == [0, 0]
    assert frames.by_epoch["promotions/a"].isna().all()
    assert frames.lengths["tenures/a"].tolist() == [0]
