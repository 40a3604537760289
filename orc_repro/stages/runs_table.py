"""Writing ``reports/runs.csv``: a run that it has is kept when the run's folder is gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from orc_repro.csv_files import csv_text
from orc_repro.errors import UserError, say
from orc_repro.files import write_atomically
from orc_repro.project import run_folder, scratch
from orc_repro.report.results import History, Result
from orc_repro.report.runs import RUN_COLUMNS, RUNS, read_runs
from orc_repro.tracking.delivery import read_delivered
from orc_repro.tracking.description import Description
from orc_repro.tracking.outcome import SECONDS, read_outcome
from orc_repro.validation import read_json


def write_runs(made: Sequence[Result | History], path: Path) -> None:
    """Join what was made with the runs that made it; keeps what another machine has written.

    Raises:
        UserError: the table that is there is damaged.
    """
    with _lock():
        known = read_runs(path)
        rows = [_run(one.cell, one.fingerprint) or known.get(one.fingerprint) for one in made]
        _write([row for row in rows if row], path)


def note_run(summary: Path, path: Path = RUNS) -> None:
    """Add the run that made a training's summary, beside whatever else is there.

    A result that is committed then has its run's record even if the machine is never seen again.
    What cannot be noted is said, and stops nobody: ``report`` does it later.
    """
    try:
        made = read_json(History, summary)
        row = _run(made.cell, made.fingerprint)
        if row is None:
            return
        with _lock():
            known = read_runs(path)
            if known.get(made.fingerprint) != row:
                _write((known | {made.fingerprint: row}).values(), path)
    except (UserError, OSError) as error:
        say("warning", f"{path} does not have this run: {error}")


def _lock() -> FileLock:
    scratch().mkdir(parents=True, exist_ok=True)
    return FileLock(scratch() / "runs.csv.lock")


def _write(rows: Iterable[dict[str, Any]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=list(RUN_COLUMNS))
    write_atomically(path, csv_text(table).encode())


def _run(cell: str, fingerprint: str) -> dict[str, Any] | None:
    folder = run_folder(fingerprint)
    try:
        ended = read_outcome(folder)
        if ended is None or ended.status != "FINISHED":
            return None
        about = read_json(Description, folder / "run.json")
        stores = read_delivered(folder).values()
    except UserError as error:  # one folder of many; its results lie elsewhere
        say("warning", f"the run of {cell} is left out: {error}")
        return None
    ids = [s.run_id for s in stores if s.run_id and s.attempt == about.attempt]
    when = datetime.fromtimestamp(ended.ended_ms / 1000, UTC)
    return {
        "cell": cell,
        "fingerprint": fingerprint,
        "run_id": ids[-1] if ids else about.attempt,
        "ended": when.isoformat(timespec="seconds"),
        "seconds": f"{ended.figures[SECONDS]:.1f}",
        "device": about.tags["device"],
        "torch": about.tags["version.torch"],
        "commit": about.tags["git.commit"][:12],
        "dirty": about.tags["git.dirty"],
    }
