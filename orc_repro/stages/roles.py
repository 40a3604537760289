"""Who taught when: a run's role changes as a table, told in a few lines."""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from orc_repro.csv_files import csv_text
from orc_repro.errors import UserError, one_line
from orc_repro.files import write_atomically
from orc_repro.project import ROLES
from orc_repro.tracking.role_file import SCORE, Extent, read_role_file

if TYPE_CHECKING:
    import pandas as pd


class Form(StrEnum):
    """How a table is written."""

    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True)
class Tenure:
    """One time that a network was temporary teacher.

    Attributes:
        network: whose.
        first_step: the iteration of its promotion, counted over the run.
        steps: how many iterations until it was demoted, or the run ended.
    """

    network: str
    first_step: int
    steps: int


def read_roles(key: str, extent: Extent | None = None) -> pd.DataFrame:
    """Read a cell's role changes; the columns are those of ``tracking.records.role_table``.

    Args:
        key: of the cell.
        extent: of its run, where it is known.

    Raises:
        UserError: the cell has not been trained here, or the file is damaged.
    """
    path = ROLES / f"{key}.parquet"
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; `orc-repro run train@{one_line(key)}` makes it, with"
            " --study if it is another study's"
        )
    return read_role_file(path, extent)


def tenures(changes: pd.DataFrame, steps: int) -> list[Tenure]:
    """Every tenure of a run of ``steps`` iterations, by when it began."""
    began: dict[str, int] = {}
    found = []
    for step, left, came in changes[["step", "left", "came"]].itertuples(index=False):
        for network in filter(None, left.split("+")):
            found.append(Tenure(network, began[network], int(step) - began.pop(network)))
        began |= {network: int(step) for network in filter(None, came.split("+"))}
    found += [Tenure(network, first, steps - first) for network, first in began.items()]
    return sorted(found, key=lambda tenure: tenure.first_step)


def summary(changes: pd.DataFrame, steps: int) -> list[str]:
    """A line for each network that was promoted: share of iterations, number and median length."""
    found = tenures(changes, steps)
    lines = [f"{len(changes)} role changes in {steps:,} iterations"]
    for network in dict.fromkeys(tenure.network for tenure in found):
        lengths = sorted(t.steps for t in found if t.network == network)
        share, median = sum(lengths) / steps, lengths[len(lengths) // 2]
        lines.append(
            f"{network}: temporary teacher in {share:.1%} of them, {len(lengths)} times, half of"
            f" these for {median:,} iterations or more"
        )
    return lines


def tidy(changes: pd.DataFrame) -> pd.DataFrame:
    """A row for each role change and each network that was a candidate, so that rows add up.

    Columns: ``step`` and ``epoch`` of the change, ``network``, ``change`` (``promoted``,
    ``demoted`` or empty), ``teaches``, whether it is temporary teacher from then on, and ``score``,
    of which the lowest won; NaN where it is not known or not finite.
    """
    import numpy as np
    import pandas as pd

    names = [name.removeprefix(SCORE) for name in changes.columns if name.startswith(SCORE)]
    came, left, teach = (
        np.array(
            [[name in now.split("+") for name in names] for now in changes[column]], dtype=bool
        )
        .reshape(len(changes), len(names))
        .ravel()
        for column in ("came", "left", "teachers")
    )
    scores = changes[[f"{SCORE}{name}" for name in names]].to_numpy("float64")
    return pd.DataFrame(
        {
            "step": changes["step"].repeat(len(names)).to_numpy(),
            "epoch": changes["epoch"].repeat(len(names)).to_numpy(),
            "network": pd.Categorical(names * len(changes), names),
            "change": np.select([came, left], ["promoted", "demoted"], ""),
            "teaches": teach,
            "score": scores.ravel(),
        }
    )


def as_bytes(table: pd.DataFrame, form: Form) -> bytes:
    """A table as the content of a file."""
    if form == Form.CSV:
        return csv_text(table).encode()
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    return content.getvalue()


def form_of(to: Path) -> Form:
    """What the ending of a name says.

    Raises:
        UserError: it is neither ``.csv`` nor ``.parquet``.
    """
    endings = {f".{form}": form for form in Form}
    if to.suffix not in endings:
        raise UserError(f"{to} must end with {' or '.join(endings)}, or --format say what it is")
    return endings[to.suffix]


def write(table: pd.DataFrame, to: Path, form: Form) -> Path:
    """Write a table.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        write_atomically(to, as_bytes(table, form))
    except OSError as error:
        raise UserError(f"{to} cannot be written: {error.strerror or error}") from None
    return to
