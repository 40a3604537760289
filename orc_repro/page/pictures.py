"""Figures on the page: each once, linked as an image, and with what it shows in a sentence.

A browser runs no script of an SVG file that is an image, and follows no link in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from orc_repro.page.files import Studied, class_files, cost_file, role_files
from orc_repro.project import reports
from orc_repro.report.results import Result
from orc_repro.report.tables import Comparison


@dataclass(frozen=True)
class Picture:
    """A figure and what it shows, in a sentence.

    Attributes:
        link: its address, relative to the page.
    """

    link: str
    caption: str


def link(path: Path, folder: Path) -> str:
    """Return the address of a file, relative to a page in a folder."""
    return quote(Path(os.path.relpath(path, folder)).as_posix())


class Pictures:
    """Pictures, each on the page once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[Path] = set()

    def read(self, path: Path, caption: str) -> Iterable[Picture]:
        """Return the picture of a file, if there is one and it was not returned before."""
        if path.exists() and path not in self._seen:
            self._seen.add(path)
            yield Picture(link(path, self._folder), caption)

    def curves(self, name: str, comparison: Comparison) -> Iterable[Picture]:
        """Validation accuracy of a study's methods by epoch."""
        measured = ", ".join(row.method for row in comparison.rows if row.results)
        path = reports(name) / "figures" / f"{comparison.dataset}-{comparison.group}-validation.svg"
        yield from self.read(
            path,
            f"{place_of(comparison)}: validation accuracy of the target by epoch, mean and range"
            f" over the seeds of {measured}.",
        )

    def roles(self, studied: Studied, comparison: Comparison) -> Iterable[Picture]:
        """Who taught when."""
        for result in _first_seeds(comparison):
            path, _ = role_files(result.cell, studied.cells.cells[result.cell])
            shares = "; ".join(f"{who} {times:,}" for who, times in result.elected.items())
            yield from self.read(
                path,
                f"{_run(comparison, result)}: {result.role_changes:,} role changes; iterations as"
                f" temporary teacher: {shares}.",
            )

    def classes(self, studied: Studied, comparison: Comparison) -> Iterable[Picture]:
        """Accuracy by class, before and after."""
        for result in _first_seeds(comparison):
            path, _ = class_files(result.cell, studied.cells.cells[result.cell])
            changes = "; ".join(_worst_class(result))
            yield from self.read(
                path,
                f"{_run(comparison, result)}: test accuracy by class. Weakest class: {changes}.",
            )

    def cost(self, studied: Studied, comparison: Comparison) -> Picture | None:
        """Accuracy over seconds."""
        caption = (
            f"{place_of(comparison)}: test accuracy of the target over seconds of training, a"
            " numbered point a method, with the 95 % interval of its mean."
        )
        return next(iter(self.read(cost_file(studied, comparison), caption)), None)


def place_of(comparison: Comparison) -> str:
    """A comparison's name in a sentence."""
    return f"{comparison.dataset}, group {comparison.group}, recipe {comparison.recipe}"


def _run(comparison: Comparison, result: Result) -> str:
    return f"{place_of(comparison)}, {result.method}, seed {result.seed}"


def _first_seeds(comparison: Comparison) -> Iterable[Result]:
    """Of each method: the page stays small, and the others' pictures are files too."""
    for row in comparison.rows:
        yield from [result for _, result in sorted(row.results.items())[:1]]


def _worst_class(result: Result) -> Iterable[str]:
    """What a picture of accuracies by class says to those who cannot see it."""
    for name, network in result.networks.items():
        last = network.last.class_top1
        before = result.pivot_before_class_top1 if network.role == "pivot" else None
        begun = f"{min(before):.1f} % before, " if before else ""
        if last:
            yield f"{name} {begun}{min(last):.1f} % after"
