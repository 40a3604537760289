"""What a method's runs took beside what they reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from orc_repro.report.figures import MARKERS, looks
from orc_repro.report.statistics import Summary, summarise
from orc_repro.report.tables import Comparison


@dataclass(frozen=True)
class Cost:
    """A method's runs on one device.

    Attributes:
        seconds: mean wall-clock time of a run's training, without its teachers'.
        reached: the target's test accuracy after the last epoch, in percent.
    """

    method: str
    device: str
    seconds: float
    reached: Summary


def costs(comparison: Comparison, runs: Mapping[str, Mapping[str, str]]) -> list[Cost]:
    """One for each method and device of its runs.

    Args:
        runs: fingerprint -> a row of ``runs.csv``; results without one are left out.
    """
    found = []
    for row in comparison.rows:
        timed: dict[str, list[tuple[float, float]]] = {}
        for result in row.results.values():
            if run := runs.get(result.fingerprint):
                point = (float(run["seconds"]), result.target.last.top1)
                timed.setdefault(run["device"], []).append(point)
        for device, points in timed.items():
            seconds, reached = (summarise(values) for values in zip(*points, strict=True))
            found.append(Cost(row.method, device, seconds.mean, reached))
    return found


def cost_figure(rows: Sequence[Cost], title: str) -> Figure:
    """Accuracy over seconds, a numbered point a method, with the 95 % interval of its mean."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("seconds of training (mean of the runs)")
    axes.set_ylabel("top-1 after the last epoch, %")
    axes.spines[["top", "right"]].set_visible(False)
    for number, ((colour, marker), row) in enumerate(zip(looks(MARKERS), rows, strict=False), 1):
        at = (row.seconds, row.reached.mean)
        if row.reached.low is not None and row.reached.high is not None:
            axes.vlines(row.seconds, row.reached.low, row.reached.high, color=colour, alpha=0.5)
        axes.plot(*at, marker, ms=5, color=colour, label=f"{number}  {row.method}")
        axes.annotate(str(number), at, xytext=(5, 3), textcoords="offset points", fontsize=8)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
