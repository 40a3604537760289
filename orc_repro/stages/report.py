"""``report``: tables and figures from result files alone; no tracking store is asked."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from orc_repro.cells import Cells, Study
from orc_repro.files import write_json
from orc_repro.project import evaluated, reports, run_folder, trained
from orc_repro.report import figures, markdown
from orc_repro.report.results import History, Result, read_result
from orc_repro.report.tables import Comparison, comparisons, network_rows
from orc_repro.tracking.delivery import deliver, read_delivered
from orc_repro.tracking.description import Description
from orc_repro.tracking.outcome import read_outcome
from orc_repro.validation import parse, read_json
from orc_repro.yaml_files import read_yaml

RUN_COLUMNS = ("cell", "fingerprint", "run_id", "ended", "seconds", "device", "torch", "commit")


def report(study: Path, to: Path | None = None) -> Path:
    """Write ``results.csv``, ``table.md``, ``summary.json``, figures and ``runs.csv``.

    Args:
        study: the folder of a ``cells.yaml``.
        to: where to write, if not where the study's reports lie.

    Returns:
        the folder written to.
    """
    path = study / "cells.yaml"
    cells = parse(Cells, read_yaml(path), str(path))
    name = study.resolve().name
    folder = to or reports(name)
    found = {key: read_result(key, evaluated(name)) for key in cells.cells}
    results = {key: result for key, result in found.items() if result is not None}
    table = comparisons(cells, results)

    folder.mkdir(parents=True, exist_ok=True)
    rows = network_rows(list(results.values()))
    rows.to_csv(folder / "results.csv", index=False, lineterminator="\n")
    text = markdown.report([(cells.title, table)])
    (folder / "table.md").write_text(text, encoding="utf-8")
    write_json(folder / "summary.json", _summary(table))
    for comparison in table:
        _draw(comparison, cells.title, name, folder / "figures")
    _write_runs(list(results.values()), folder / "runs.csv")
    return folder


def deliver_finals(study: Study) -> list[str]:
    """Send the end figures of a study's runs that were made on this machine to MLflow.

    Here, once for all cells, rather than by each evaluation: loading MLflow takes longer than
    evaluating a small network does.

    Returns:
        a sentence for each run that could not be delivered.
    """
    if not study.params.tracking.enabled:
        return []
    problems = []
    for key in study.cells.cells:
        result = read_result(key, evaluated(study.name))
        if result is not None and (run_folder(result.fingerprint) / "run.json").exists():
            problems.append(deliver(run_folder(result.fingerprint), study.params.tracking))
    return [problem for problem in problems if problem]


def _summary(table: list[Comparison]) -> dict[str, Any]:
    """A few numbers a method, for ``dvc metrics`` and ``dvc exp show``."""
    return {
        f"{comparison.dataset}-{comparison.group}": {
            row.method: {
                "top1": round(row.target.mean, 4),
                "sd": None if row.target.sd is None else round(row.target.sd, 4),
                "n": row.target.n,
            }
            for row in comparison.rows
            if row.target is not None
        }
        for comparison in table
    }


def _draw(comparison: Comparison, title: str, study: str, folder: Path) -> None:
    histories = {
        row.method: [_history(study, result) for result in row.results.values()]
        for row in comparison.rows
        if row.results
    }
    if not histories:
        return
    stem = f"{comparison.dataset}-{comparison.group}"
    figures.save(figures.validation_curves(histories, title), folder / f"{stem}-validation.svg")
    for method, seeds in histories.items():
        if any(key.startswith("role/share_") for key in seeds[0][0]):
            drawn = figures.role_shares(seeds, f"{title}, {method}")
            figures.save(drawn, folder / f"{stem}-{method}-roles.svg")


def _history(study: str, result: Result) -> list[dict[str, float]]:
    history = read_json(History, trained(study) / f"{result.cell}.json")
    return [
        {name: math.nan if value is None else value for name, value in epoch.items()}
        for epoch in history.epochs
    ]


def _write_runs(results: list[Result], path: Path) -> None:
    """Join results with the runs that made them; keeps what another machine has written."""
    known: dict[str, dict[str, Any]] = {}
    if path.exists():
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        known = {str(row["fingerprint"]): dict(row) for _, row in table.iterrows()}
    rows = [_run(result) or known.get(result.fingerprint) for result in results]
    table = pd.DataFrame([row for row in rows if row], columns=list(RUN_COLUMNS))
    table.to_csv(path, index=False, lineterminator="\n")


def _run(result: Result) -> dict[str, Any] | None:
    folder = run_folder(result.fingerprint)
    ended = read_outcome(folder)
    if ended is None or ended.status != "FINISHED":
        return None
    about = read_json(Description, folder / "run.json")
    stores = read_delivered(folder).values()
    ids = [s.run_id for s in stores if s.run_id and s.attempt == about.attempt]
    when = datetime.fromtimestamp(ended.ended_ms / 1000, UTC)
    return {
        "cell": result.cell,
        "fingerprint": result.fingerprint,
        "run_id": ids[-1] if ids else about.attempt,
        "ended": when.isoformat(timespec="seconds"),
        "seconds": f"{ended.figures['cost/seconds']:.1f}",
        "device": about.tags["device"],
        "torch": about.tags["version.torch"],
        "commit": about.tags["git.commit"][:12],
    }
