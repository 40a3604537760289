"""What MLflow shows above a run: a few lines of Markdown that a person reads first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orc_repro.tracking.description import Description

if TYPE_CHECKING:
    from orc_repro.published.tables import Cell
    from orc_repro.report.statistics import Summary
    from orc_repro.tracking.places import Place

NOTE = "mlflow.note.content"
MOST_QUOTED = 12  # a note is a tag, and those have 8,000 characters


def run_note(about: Description, top1: float | None = None) -> str:
    """One seed's: what it is, its recipe, its result, how to make it again."""
    result = None if top1 is None else f"Test top-1 after the last epoch: **{top1:.2f} %**"
    return _lines(f"**{about.run_name}** on {_dataset(about)}", about, [result], about.command)


def row_note(
    about: Description,
    summary: Summary | None,
    cells: Sequence[str],
    places: Sequence[Place],
) -> str:
    """A row's: the same over its seeds, beside what was published.

    Args:
        about: of any of its runs.
        summary: top-1 of the target on the test split, in percent, over the seeds evaluated.
        cells: these seeds' cells.
        places: the studies that declare the row.
    """
    quoted = [quotation(cell) for place in places for cell in place.quoted]
    quoted = list(dict.fromkeys(quoted))[:MOST_QUOTED]
    shown = ", ".join(f"{place.title} (`{place.study}`)" for place in places)
    lines = [
        f"Test top-1 after the last epoch: **{spoken(summary)}**" if summary else "No result yet",
        f"Published: {'; '.join(quoted)}" if quoted else "Published: no number is known",
        f"Shown in: {shown}" if shown else None,
    ]
    words = about.command.split()
    command = " ".join(" ".join(cells) if word == about.cell and cells else word for word in words)
    what = f"**{about.row_name}**: {_dataset(about)}, a child run for each seed"
    return _lines(what, about, lines, command)


def spoken(summary: Summary) -> str:
    """``97.31 ± 0.42 % (n = 3, 95 % interval 96.27 to 98.35)``."""
    if summary.sd is None:
        return f"{summary.mean:.2f} % (n = 1)"
    bounds = ""
    if summary.low is not None and summary.high is not None:
        bounds = f", 95 % interval {summary.low:.2f} to {summary.high:.2f}"
    return f"{summary.mean:.2f} ± {summary.sd:.2f} % (n = {summary.n}{bounds})"


def quotation(cell: Cell) -> str:
    """Return a published number, what it measures, where it stands and how far to trust it."""
    low_high = "" if cell.range is None else f"{cell.range[0]:g} to {cell.range[1]:g}"
    number = low_high if cell.value is None else f"{cell.value:g}"
    metric = (cell.metric or "").removesuffix("_percent").replace("_", " ")
    remark = f", {cell.protocol_remark}" if cell.protocol_remark else ""
    return f"{number} % {metric} ({cell.row}, `{cell.table}`, {cell.confidence}{remark})"


def _dataset(about: Description) -> str:
    name = about.params.get("dataset", "")
    counts = ", ".join(f"{count:,} {split}" for split, count in about.images.items())
    return f"{name} ({counts})" if counts else name


def _lines(what: str, about: Description, more: Sequence[str | None], command: str) -> str:
    recipe = f"Recipe: {about.recipe}" if about.recipe else None
    again = f"Again: `{command}`" if command else None
    return "\n".join([f"{what}\n", *(f"- {line}" for line in (recipe, *more, again) if line)])
