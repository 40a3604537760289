"""``report``: tables and figures from result files alone; no tracking store is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from orc_repro.cells import Cells
from orc_repro.fingerprint import write_json
from orc_repro.project import EVALUATED, REPORTS, TRAINED, run_folder
from orc_repro.report import figures, markdown
from orc_repro.report.results import Result, read_results
from orc_repro.report.tables import Comparison, comparisons, network_rows
from orc_repro.tracking.delivery import Outcome
from orc_repro.tracking.description import Description
from orc_repro.validation import parse, read_json
from orc_repro.yaml_files import read_yaml

RUN_COLUMNS = ("cell", "fingerprint", "run_id", "ended", "seconds", "device", "torch", "commit")


def report(studies: Path = Path("studies"), folder: Path = REPORTS) -> None:
    """Write ``results.csv``, ``table.md``, ``summary.json``, figures and ``runs.csv``."""
    declared = {
        path.parent.name: parse(Cells, read_yaml(path), str(path))
        for path in sorted(studies.glob("*/cells.yaml"))
    }
    keys = {key for cells in declared.values() for key in cells.cells}
    results = {r.cell: r for r in read_results(EVALUATED) if r.cell in keys}
    tables = {name: comparisons(cells, results) for name, cells in declared.items()}

    folder.mkdir(parents=True, exist_ok=True)
    ordered = [results[key] for cells in declared.values() for key in cells.cells if key in results]
    network_rows(ordered).to_csv(folder / "results.csv", index=False, lineterminator="\n")
    text = markdown.report((declared[name].title, table) for name, table in tables.items())
    (folder / "table.md").write_text(text, encoding="utf-8")
    write_json(folder / "summary.json", _summary(tables))
    for name, table in tables.items():
        for comparison in table:
            _draw(comparison, f"{name}, {comparison.dataset}", folder / "figures" / name)
    _write_runs(ordered, folder / "runs.csv")


def _summary(tables: Mapping[str, list[Comparison]]) -> dict[str, Any]:
    """A few numbers a comparison, for ``dvc metrics`` and ``dvc exp show``."""
    return {
        name: {
            row.method: {
                "top1": round(row.target.mean, 4),
                "sd": None if row.target.sd is None else round(row.target.sd, 4),
                "n": row.target.n,
            }
            for comparison in table
            for row in comparison.rows
            if row.target is not None
        }
        for name, table in tables.items()
    }


def _draw(comparison: Comparison, title: str, folder: Path) -> None:
    histories = {
        row.method: [_history(result) for result in row.results.values()]
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


def _history(result: Result) -> list[dict[str, float]]:
    content = json.loads((TRAINED / f"{result.cell}.json").read_text(encoding="utf-8"))
    epochs: list[dict[str, float]] = content["epochs"]
    return epochs


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
    if not (folder / "outcome.json").exists():
        return None
    about = read_json(Description, folder / "run.json")
    ended = read_json(Outcome, folder / "outcome.json")
    delivered = folder / "delivered.json"
    stores = json.loads(delivered.read_text(encoding="utf-8")) if delivered.exists() else {}
    ids = [state["run_id"] for state in stores.values() if state["attempt"] == about.attempt]
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
