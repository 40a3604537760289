"""``report``: tables and figures from result files alone; no tracking store is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from orc_repro.cells import Study, load_study
from orc_repro.config import Params, architecture_of, load_params
from orc_repro.csv_files import csv_text
from orc_repro.deadline import Unusable
from orc_repro.files import write_atomically, write_json
from orc_repro.page.files import drawn_of
from orc_repro.plan import Declaration
from orc_repro.progress import Work
from orc_repro.project import REPORTS, RESULTS, evaluated, reports, run_folder, trained
from orc_repro.published.tables import load_tables
from orc_repro.report import figures, markdown
from orc_repro.report.paper import Paper, PaperColumns, paper_columns
from orc_repro.report.paper_markdown import paper_rows, paper_table
from orc_repro.report.results import History, Result, read_history, read_result, read_results
from orc_repro.report.runs import read_runs
from orc_repro.report.tables import Comparison, comparisons, method_rows, network_rows
from orc_repro.stages.runs_table import write_runs
from orc_repro.tracking.delivery import deliver
from orc_repro.validation import parse, read_json
from orc_repro.yaml_files import read_yaml

Curves = list[dict[str, float]]


def report(study: Path, to: Path | None = None) -> Path:
    """Write ``table.md``, ``table.csv``, ``summary.json`` and figures of a study.

    Args:
        study: the folder of a ``cells.yaml``.
        to: where to write, if not where the study's reports lie.

    Returns:
        the folder written to.
    """
    cells = load_study(study).cells
    path = study / "study.yaml"
    paper = parse(Declaration, read_yaml(path), str(path)).paper
    folder = to or reports(study.resolve().name)
    results = {
        key: result
        for key, cell in cells.cells.items()
        if (result := read_result(key, evaluated(cell.study))) is not None
    }
    histories = {
        key: _curves(read_history(result, trained(cells.cells[key].study)))
        for key, result in results.items()
    }
    table = comparisons(cells, results)

    (folder / "figures").mkdir(parents=True, exist_ok=True)
    text = markdown.report([(cells.title, table)])
    if paper is None:
        rows = method_rows(table)
    else:
        columns = _beside_published(paper, table)
        rows = paper_rows(columns)
        text = f"# {cells.title}\n\n{paper_table(columns)}" + (f"\n{text}" if results else "")
    write_atomically(folder / "table.csv", csv_text(rows).encode())
    write_atomically(folder / "table.md", text.encode())
    write_json(folder / "summary.json", _summary(table))
    for comparison in table:
        _draw(comparison, cells.title, histories, folder / "figures")
    return folder


def _beside_published(paper: Paper, table: list[Comparison]) -> PaperColumns:
    params = load_params()
    found = [result for c in table for row in c.rows for result in row.results.values()]
    counts = {result.dataset: {r.training_images for r in found} for result in found}
    return paper_columns(
        paper,
        load_tables(),
        table,
        networks={c.group: _networks_of(params, c.group, paper) for c in table},
        recipes=params.recipes,
        training_images={d: n.pop() if len(n) == 1 else None for d, n in counts.items()},
        runs={fingerprint: run["run_id"] for fingerprint, run in read_runs().items()},
    )


def _networks_of(params: Params, name: str, paper: Paper) -> str | None:
    group = params.groups[name]
    if name in paper.networks or group.pivot is None:
        return paper.networks.get(name)
    return f"{architecture_of(group.pivot)} -> {architecture_of(group.target)}"


def write_all_results(folder: Path = REPORTS) -> None:
    """Write ``results.csv`` and ``runs.csv``: every result of every study and pool, once; and the
    runs of the teachers that were trained before.

    Raises:
        UserError: a result, or the table of runs that is there, is damaged.
    """
    folders = (*RESULTS.glob("*/trained"), *RESULTS.glob("*/evaluated"))
    studies = {folder.parent.name for folder in folders}
    found = {name: read_results(evaluated(name)) for name in sorted(studies)}
    tables = [network_rows(results) for results in found.values() if results]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    write_atomically(folder / "results.csv", csv_text(table).encode())
    made: list[Result | History] = []
    for study, results in found.items():
        known = {result.cell for result in results}
        made += results
        made += [
            read_json(History, path)
            for path in sorted(trained(study).glob("*.json"))
            if path.stem not in known
        ]
    write_runs(made, folder / "runs.csv")


def deliver_finals(study: Study) -> list[str]:
    """Send the end figures of a study's runs that were made on this machine to MLflow, and what
    was drawn of them.

    Here, once for all cells, rather than by each evaluation: loading MLflow takes longer than
    evaluating a small network does.

    Returns:
        a sentence for each run that could not be delivered, or one if the store is unusable.
    """
    if not study.params.tracking.enabled:
        return []
    problems, cells = [], study.cells.cells
    with Work("MLflow", len(cells), "runs") as work:
        for key, cell in cells.items():
            result = read_result(key, evaluated(cell.study))
            if result is not None and (run_folder(result.fingerprint) / "run.json").exists():
                folder = run_folder(result.fingerprint)
                try:
                    problems.append(deliver(folder, study.params.tracking, drawn_of(key, cell)))
                except Unusable as error:
                    problems.append(f"{error}; `orc-repro sync` sends what is missing")
                    break
            work.done()
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


def _draw(comparison: Comparison, title: str, found: Mapping[str, Curves], folder: Path) -> None:
    histories = {
        row.method: [found[result.cell] for result in row.results.values()]
        for row in comparison.rows
        if row.results
    }
    if not histories:
        return
    stem = f"{comparison.dataset}-{comparison.group}"
    figures.save(figures.validation_curves(histories, title), folder / f"{stem}-validation.svg")
    for method, seeds in histories.items():
        if any(key.startswith(figures.SHARE) for seed in seeds for key in seed[0]):
            drawn = figures.role_shares(seeds, f"{title}, {method}")
            figures.save(drawn, folder / f"{stem}-{method}-roles.svg")


def _curves(history: History) -> Curves:
    return [
        {name: math.nan if value is None else value for name, value in epoch.items()}
        for epoch in history.epochs
    ]
