"""Accuracy by class, before and after teaching (the paper's Figure 3): who is weak where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from orc_repro.report.figures import MARKERS, looks
from orc_repro.report.results import Result

FEW = 20  # classes whose numbers fit below an axis
BEFORE, AFTER, ALONE = "before", "after", "alone"


@dataclass(frozen=True)
class Line:
    """A network's accuracy by class, in percent.

    Attributes:
        network: whose.
        when: ``before`` for the pivot as it began, ``after`` the run's last epoch, ``alone`` for
            the target trained alone with the same seed.
        top1: of each class, by label.
    """

    network: str
    when: str
    top1: tuple[float, ...]

    @property
    def name(self) -> str:
        """For a column and a legend."""
        return f"{self.network}, {self.when}"


def class_frame(result: Result, alone: Result | None) -> pd.DataFrame:
    """A row a class: ``class``, its label, and a column a :class:`Line`, the pivot's first.

    The pivot's weakest class comes first, as early as the pivot is known; of equal ones the lower
    label. Chance alone lifts what was chosen for being low, and lowers the other end.

    Args:
        result: of a run with a pivot.
        alone: of the run that trained the same target alone, with the same seed, if there is one.
    """
    lines = list(_lines(result, alone))
    first = lines[0].top1
    order = sorted(range(len(first)), key=lambda label: (first[label], label))
    columns = {line.name: [line.top1[label] for label in order] for line in lines}
    return pd.DataFrame({"class": order} | columns)


def _lines(result: Result, alone: Result | None) -> Iterable[Line]:
    networks = sorted(result.networks.items(), key=lambda entry: entry[1].role != "pivot")
    for name, network in networks:
        before = result.pivot_before_class_top1
        if network.role == "pivot" and before is not None:
            yield Line(name, BEFORE, before)
        if name == result.target_name and alone is not None:
            yield Line(name, ALONE, alone.target.last.class_top1)
        yield Line(name, AFTER, network.last.class_top1)


def class_figure(frame: pd.DataFrame, title: str) -> Figure:
    """The pivot above, the students below; hollow is before, or alone, and filled is after."""
    figure = Figure(figsize=(7.2, 5.0), layout="constrained")
    figure.suptitle(title, fontsize=10)
    above, below = figure.subplots(2, 1, sharex=True, sharey=True)
    names = list(frame.columns[1:])
    pivot = names[0].partition(",")[0]
    _dots(above, frame, [name for name in names if name.partition(",")[0] == pivot])
    _dots(below, frame, [name for name in names if name.partition(",")[0] != pivot])
    above.set_title("pivot: test accuracy of each class, %", fontsize=8, loc="left")
    below.set_title("students: the same, alone and in the group", fontsize=8, loc="left")
    classes = frame["class"]
    below.set_xlabel("class, the pivot's weakest first", fontsize=8)
    if len(classes) <= FEW:
        below.set_xticks(range(len(classes)), [str(label) for label in classes])
    else:
        below.set_xticks([0, len(classes) - 1], ["weakest", "strongest"])
    return figure


def _dots(axes: Any, frame: pd.DataFrame, names: list[str]) -> None:
    networks = list(dict.fromkeys(name.partition(",")[0] for name in names))
    of = dict(zip(networks, looks(MARKERS), strict=False))
    shift = np.linspace(-0.24, 0.24, len(names)) if len(names) > 1 else np.zeros(1)
    size = 5 if len(frame) <= FEW else 2.5
    for name, aside in zip(names, shift, strict=True):
        (colour, _), hollow = of[name.partition(",")[0]], not name.endswith(AFTER)
        axes.plot(
            np.arange(len(frame)) + aside, frame[name], "o", ms=size, color=colour,
            mfc="white" if hollow else colour, label=name,
        )  # fmt: skip
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3, lw=0.5)
    if len(frame) <= FEW:
        axes.set_xticks(np.arange(len(frame) - 1) + 0.5, minor=True)
        axes.grid(axis="x", which="minor", alpha=0.3, lw=0.5)
        axes.tick_params(which="minor", length=0)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
