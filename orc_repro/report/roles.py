"""Who taught when: a run's role changes as a table, told in a few lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orc_repro.errors import UserError, one_line
from orc_repro.files import write_atomically
from orc_repro.project import ROLES

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "parquet")


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


def read_roles(key: str) -> pd.DataFrame:
    """A cell's role changes; the columns are those of ``tracking.records.role_table``.

    Raises:
        UserError: the cell has not been trained here, or the file is damaged.
    """
    import pandas as pd

    path = ROLES / f"{key}.parquet"
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; `orc-repro run train@{one_line(key)}` makes it, with"
            " --study if it is another study's"
        )
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: {one_line(str(error), 200)}") from None


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


def written(changes: pd.DataFrame, to: Path) -> Path:
    """Write the table; the ending says how.

    Raises:
        UserError: the ending is neither ``.csv`` nor ``.parquet``, or the file cannot be written.
    """
    if to.suffix not in {f".{name}" for name in FORMATS}:
        raise UserError(f"{to} must end with .csv or .parquet")
    try:
        if to.suffix == ".csv":
            write_atomically(to, changes.to_csv(index=False).encode())
        else:
            write_atomically(to, changes.to_parquet(index=False))
    except OSError as error:
        raise UserError(f"{to} cannot be written: {error.strerror or error}") from None
    return to
