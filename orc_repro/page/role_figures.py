"""One picture of a run's roles: who taught when, how clear that was, and whether it was right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from orc_repro.page.role_frames import RoleFrames
from orc_repro.report.figures import COLOURS

_SIZE_INCHES = (7.2, 8.4)


def role_figure(frames: RoleFrames, title: str) -> Figure:
    """Timeline above; below it shares, promotions, margins, tenures and agreement."""
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels = figure.subplot_mosaic(
        [["timeline", "timeline"], ["share", "promotions"], ["margin", "length"], ["agreed"] * 2],
        height_ratios=[0.7, 1, 1, 0.7],
    )
    for name, axes in panels.items():
        if name not in ("timeline", "length"):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    _timeline(panels["timeline"], frames.timeline)
    epochs = frames.by_epoch
    _lines(panels["share"], epochs, "share/")
    _label(panels["share"], "share of iterations as temporary teacher", "epoch")
    _lines(panels["promotions"], epochs, "promotions/")
    _label(panels["promotions"], "share of the epoch's promotions", "epoch")
    _margin(panels["margin"], epochs)
    _lengths(panels["length"], frames.lengths)
    axes = panels["agreed"]
    axes.plot(epochs["epoch"], epochs["agreement"], _style(epochs), color=COLOURS[0], ms=3, lw=1)
    axes.set_ylim(-0.03, 1.03)
    _label(axes, "share of iterations in which the best in validation taught", "epoch")
    return figure


def _timeline(axes: Any, frame: pd.DataFrame) -> None:
    names = list(_named(frame, "share/"))
    shares = frame[[f"share/{name}" for name in names]].to_numpy().T
    colours = np.array([to_rgb(colour) for colour in _colours(len(names))])
    # From white to the network's colour, as far as it was temporary teacher in that stretch.
    image = 1 - shares[:, :, None] * (1 - colours[:, None, :])
    step = frame["step"].to_numpy()
    end = step[-1] + (step[1] - step[0] if len(step) > 1 else 1)
    axes.imshow(image, aspect="auto", interpolation="none", extent=(0, end, len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), names)
    _label(axes, "temporary teacher (paler: for a part of that stretch)", "iteration")


def _lines(axes: Any, frame: pd.DataFrame, prefix: str) -> None:
    names = list(_named(frame, prefix))
    for colour, name in zip(_colours(len(names)), names, strict=True):
        values = frame[f"{prefix}{name}"]
        axes.plot(frame["epoch"], values, _style(frame), color=colour, ms=3, lw=1, label=name)
    axes.set_ylim(-0.03, 1.03)
    axes.legend(frameon=False, fontsize=8)


def _margin(axes: Any, frame: pd.DataFrame) -> None:
    low, high = frame["margin_low"], frame["margin_high"]
    axes.fill_between(frame["epoch"], low, high, color=COLOURS[0], alpha=0.2, lw=0)
    axes.plot(frame["epoch"], frame["margin_median"], _style(frame), color=COLOURS[0], ms=3, lw=1)
    axes.set_ylim(bottom=0)
    _label(axes, "second - first score at changes: median, quartiles", "epoch")


def _lengths(axes: Any, frame: pd.DataFrame) -> None:
    names = list(_named(frame, "tenures/"))
    edges = np.append(frame["at_least"], frame["below"].iloc[-1])
    for colour, name in zip(_colours(len(names)), names, strict=True):
        axes.stairs(frame[f"tenures/{name}"], edges, color=colour, label=name)
    axes.set_xscale("log", base=2)
    axes.legend(frameon=False, fontsize=8)
    _label(axes, "number of tenures by their length", "iterations until demoted")


def _label(axes: Any, title: str, below: str) -> None:
    axes.set_title(title, fontsize=8, loc="left")
    axes.set_xlabel(below, fontsize=8)


def _named(frame: pd.DataFrame, prefix: str) -> Iterable[str]:
    return (name.removeprefix(prefix) for name in frame.columns if name.startswith(prefix))


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def _style(frame: pd.DataFrame) -> str:
    """A dot at each epoch as long as there are few; a lone epoch has no line to be seen by."""
    return ".-" if len(frame) <= 40 else "-"
