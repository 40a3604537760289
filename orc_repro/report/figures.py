"""Figures of a comparison as SVG; the same results give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from orc_repro.report.results import VALIDATION_TOP1

Histories = Mapping[str, Sequence[Sequence[Mapping[str, float]]]]
"""By method, one history a seed: a mapping of metric names to values for each epoch."""
SHARE = "role/share_"
"""What begins the metric of a student's share of an epoch's elections."""
Values = npt.NDArray[np.float64]

# Distinct in hue and in grey, and for the common colour deficiencies (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")
BESIDE = 8  # more names than this stand beside a figure, not in it


def looks(forms: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of a colour and a form, all of them different: when the colours are used up, the next
    form begins. Past the last pair they begin again.
    """
    while True:
        yield from ((colour, form) for form, colour in product(forms, COLOURS))


def validation_curves(histories: Histories, title: str) -> Figure:
    """Draw the target's validation accuracy by epoch: mean over seeds, and their range.

    Runs of different length are drawn as far as all of them go.
    """
    wide = len(histories) > BESIDE
    figure, axes = _figure(title, "validation accuracy of the target, %", 8.0 if wide else 6.4)
    for (colour, dash), (method, seeds) in zip(looks(DASHES), histories.items(), strict=False):
        values = _by_epoch(seeds, VALIDATION_TOP1)
        _line(axes, values, colour, dash, f"{method} (n = {len(seeds)})", 0.05 if wide else 0.15)
    name_lines(axes, len(histories))
    return figure


def role_shares(seeds: Sequence[Sequence[Mapping[str, float]]], title: str) -> Figure:
    """Draw each student's share of an epoch as temporary teacher (the paper's Figure 4).

    Runs of different length are drawn as far as all of them go.
    """
    figure, axes = _figure(title, "share of iterations as temporary teacher")
    names = dict.fromkeys(key for seed in seeds for key in seed[0] if key.startswith(SHARE))
    for (colour, dash), name in zip(looks(DASHES), names, strict=False):
        _line(axes, _by_epoch(seeds, name), colour, dash, name.removeprefix(SHARE))
    axes.set_ylim(0, 1)
    name_lines(axes, len(names))
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write an SVG without date and with fixed identifiers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "orc_repro", "svg.fonttype": "path"}):
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def name_lines(axes: Any, count: int) -> None:
    """A legend where it hides nothing."""
    beside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "fontsize": 8}
    axes.legend(frameon=False, handlelength=2.6, **(beside if count > BESIDE else {}))


def _by_epoch(seeds: Sequence[Sequence[Mapping[str, float]]], key: str) -> Values:
    """Return a metric as [seeds, epochs of the shortest run]; NaN where it is absent."""
    epochs = min(map(len, seeds))
    return np.array([[epoch.get(key, math.nan) for epoch in seed[:epochs]] for seed in seeds])


def _line(
    axes: Any, values: Values, colour: str, dash: str, name: str, shade: float = 0.15
) -> None:
    """Mean over seeds and their range, by epoch."""
    epochs = np.arange(1, values.shape[1] + 1)
    axes.plot(epochs, values.mean(0), dash, color=colour, label=name)
    axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=shade, lw=0)


def _figure(title: str, ylabel: str, width: float = 6.4) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("epoch")
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
