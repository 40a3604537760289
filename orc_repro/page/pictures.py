"""Figures on the page: each once, and with what it shows in a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import ParseError

from markupsafe import Markup

from orc_repro.errors import UserError
from orc_repro.files import read_text
from orc_repro.page.files import Studied, class_files, cost_file, role_files
from orc_repro.page.vectors import Vectors
from orc_repro.project import REPORTS, reports
from orc_repro.report.results import Result
from orc_repro.report.tables import Comparison

PICTURES_BYTES = 3_800_000
"""On the page; what is beyond is linked. Tables of 20 studies are below one million more."""


@dataclass(frozen=True)
class Picture:
    """A figure and what it shows, in a sentence.

    Attributes:
        svg: an element; None where the page is full.
        file: where it lies, seen from the page.
    """

    svg: Markup | None
    file: str
    caption: str


class Pictures:
    """Pictures, each on the page once, as long as there is room."""

    def __init__(self, room: int | None = None) -> None:
        self.vectors = Vectors()
        self._room = PICTURES_BYTES if room is None else room
        self._seen: set[Path] = set()

    def read(self, path: Path, caption: str) -> Iterable[Picture]:
        """The picture of a file, if there is one and it was not read before.

        Raises:
            UserError: it is damaged.
        """
        if not path.exists() or path in self._seen:
            return
        self._seen.add(path)
        text = read_text(path)
        try:
            svg, length = self.vectors.inline(text, caption, self._room)
        except ParseError as error:
            raise UserError(f"{path} is no whole picture: {error}") from None
        self._room -= length
        yield Picture(svg, path.relative_to(REPORTS).as_posix(), caption)

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
