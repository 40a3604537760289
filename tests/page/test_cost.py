"""Times beside accuracies, by method and device."""

from __future__ import annotations

import numpy as np
import pytest

from orc_repro.page.cost import cost_figure, costs
from orc_repro.report.statistics import summarise
from tests.report.made_paper import comparison, row, runs_of

COMPARISON = comparison(runs_of("kd", 70.0, 71.0, 75.0), runs_of("ce", 60.0), row("orc"))
RUNS = {
    "print-kd-0": {"seconds": "10.0", "device": "cpu"},
    "print-kd-1": {"seconds": "20.0", "device": "cpu"},
    "print-kd-2": {"seconds": "1.0", "device": "cuda"},
}


def test_times_of_different_devices_are_apart_and_untimed_runs_are_left_out() -> None:
    on_cpu, on_gpu = costs(COMPARISON, RUNS)
    assert (on_cpu.method, on_cpu.device, on_cpu.seconds) == ("kd", "cpu", 15.0)
    assert on_cpu.reached == summarise([70.0, 71.0])
    assert (on_gpu.device, on_gpu.seconds, on_gpu.reached.n) == ("cuda", 1.0, 1)


def test_a_method_is_a_numbered_point_with_its_interval() -> None:
    (axes,) = cost_figure(costs(COMPARISON, RUNS), "made").axes
    points = [np.asarray(line.get_xydata())[0].tolist() for line in axes.lines]
    assert points == [[15.0, 70.5], [1.0, 75.0]]
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    (interval,) = axes.collections  # a single run has none
    low, high = np.asarray(interval.get_paths()[0].vertices)[:, 1]
    assert (low, high) == pytest.approx((64.1469, 76.8531), abs=1e-4)  # 70.5 ± 12.7062 * 0.5
