"""Figures of a comparison as SVG; the same results give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

Histories = Mapping[str, Sequence[Sequence[Mapping[str, float]]]]
"""By method, one history a seed: a mapping of metric names to values for each epoch."""

# Distinct in hue and in grey, and for the common colour deficiencies (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def validation_curves(histories: Histories, title: str) -> Figure:
    """The target's validation accuracy by epoch: mean over seeds, and their range."""
    figure, axes = _figure(title, "validation accuracy of the target, %")
    for colour, (method, seeds) in zip(_colours(len(histories)), histories.items(), strict=True):
        values = np.array([[epoch["val/top1"] for epoch in seed] for seed in seeds])
        epochs = np.arange(1, values.shape[1] + 1)
        axes.plot(epochs, values.mean(0), color=colour, label=f"{method} (n = {len(seeds)})")
        axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)
    axes.legend(frameon=False)
    return figure


def role_shares(seeds: Sequence[Sequence[Mapping[str, float]]], title: str) -> Figure:
    """Each student's share of an epoch's iterations as temporary teacher (the paper's Figure 4)."""
    figure, axes = _figure(title, "share of iterations as temporary teacher")
    prefix = "role/share_"
    names = [key for key in seeds[0][0] if key.startswith(prefix)]
    for colour, name in zip(_colours(len(names)), names, strict=True):
        values = np.array([[epoch[name] for epoch in seed] for seed in seeds])
        epochs = np.arange(1, values.shape[1] + 1)
        axes.plot(epochs, values.mean(0), color=colour, label=name.removeprefix(prefix))
        axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)
    axes.set_ylim(0, 1)
    axes.legend(frameon=False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write an SVG without date and with fixed identifiers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "orc_repro", "svg.fonttype": "path"}):
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def _figure(title: str, ylabel: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("epoch")
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
