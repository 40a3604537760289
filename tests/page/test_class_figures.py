"""Accuracy by class, before and after, worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from orc_repro.page.class_figures import class_figure, class_frame
from orc_repro.report.results import NetworkResult, Result, Score

MANY = tuple(float(label) for label in range(100))


def network(role: str, *top1: float) -> NetworkResult:
    score = Score(epoch=1, top1=50.0, top5=None, loss=1.0, class_top1=top1)
    return NetworkResult(role=role, parameters=10, last=score, best=score)


def result(networks: dict[str, NetworkResult], before: tuple[float, ...] | None) -> Result:
    return Result(
        cell="c", row="r", fingerprint="f", weights_digest="w", dataset="d", group="g", method="m",
        recipe="r", seed=0, epochs=2, training_images=10, target_name="small", networks=networks,
        pivot_before=50.0, pivot_before_class_top1=before, elected={}, role_changes=0,
        not_finite=(),
    )  # fmt: skip


RAN = {
    "middle": network("student", 10.0, 20.0, 30.0),
    "large": network("pivot", 70.0, 80.0, 60.0),
    "small": network("target", 40.0, 50.0, 60.0),
}
ALONE = result({"small": network("target", 41.0, 51.0, 61.0)}, None)


def test_the_pivots_weakest_class_comes_first_and_after_stands_beside_before() -> None:
    frame = class_frame(result(RAN, (90.0, 30.0, 90.0)), ALONE)
    pd.testing.assert_frame_equal(
        frame,
        pd.DataFrame(
            {
                "class": [1, 0, 2],  # 30, and of two with 90 the lower label
                "large, before": [30.0, 90.0, 90.0],
                "large, after": [80.0, 70.0, 60.0],
                "middle, after": [20.0, 10.0, 30.0],
                "small, alone": [51.0, 41.0, 61.0],
                "small, after": [50.0, 40.0, 60.0],
            }
        ),
    )
    above, below = class_figure(frame, "a run").axes
    shown = {str(line.get_label()): line for line in (*above.lines, *below.lines)}
    assert list(shown) == list(frame.columns[1:])
    for name, line in shown.items():
        np.testing.assert_array_equal(line.get_ydata(), frame[name])
        assert (line.get_markerfacecolor() == "white") == (not name.endswith("after"))
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["1", "0", "2"]


def test_a_result_of_an_earlier_version_has_no_before() -> None:
    frame = class_frame(result(RAN, None), None)
    assert list(frame) == ["class", "large, after", "middle, after", "small, after"]
    assert frame["class"].tolist() == [2, 0, 1]  # by the pivot after


@pytest.mark.parametrize("count", [20, 21])
def test_many_classes_are_not_named(count: int) -> None:
    networks = {
        "large": network("pivot", *MANY[:count]), "small": network("target", *MANY[:count])
    }  # fmt: skip
    _, below = class_figure(class_frame(result(networks, None), None), "many").axes
    named = [tick.get_text() for tick in below.get_xticklabels()]
    assert named == ([str(i) for i in range(20)] if count == 20 else ["weakest", "strongest"])
