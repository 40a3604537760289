"""``reports/runs.csv``: which run made a result, where and when."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pandas as pd

from orc_repro.errors import UserError, one_line
from orc_repro.files import read_text
from orc_repro.project import REPORTS

RUNS = REPORTS / "runs.csv"
RUN_COLUMNS = (
    "cell", "fingerprint", "run_id", "ended", "seconds", "device", "torch", "commit", "dirty",
)  # fmt: skip

Runs = dict[str, dict[str, str]]
"""By fingerprint, a row of ``runs.csv``."""


def read_runs(path: Path = RUNS) -> Runs:
    """Read the table of runs; without one, no run is known.

    Raises:
        UserError: the table is damaged.
    """
    if not path.exists():
        return {}
    try:
        table = pd.read_csv(io.StringIO(read_text(path)), dtype=str, keep_default_na=False)
    except ValueError as error:  # pandas' own errors are such
        raise UserError(f"{path} is damaged: {one_line(str(error))}") from None
    for column in RUN_COLUMNS:
        if column not in table:
            raise UserError(f"{path} is damaged: it has no column '{column}'")
    for seconds in table["seconds"]:
        if not _is_duration(seconds):
            raise UserError(f"{path} is damaged: '{one_line(seconds)}' is no number of seconds")
    return {row["fingerprint"]: {c: row[c] for c in RUN_COLUMNS} for _, row in table.iterrows()}


def _is_duration(text: str) -> bool:
    try:
        return 0 <= float(text) < math.inf
    except ValueError:
        return False
