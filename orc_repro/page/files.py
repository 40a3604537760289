"""What the page is made of: figures beside the reports, each with the numbers it shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from orc_repro.cells import Cell, Cells
from orc_repro.config import Params, load_params
from orc_repro.errors import UserError
from orc_repro.files import write_atomically
from orc_repro.page import drawing
from orc_repro.page.cost import Cost, cost_figure, costs
from orc_repro.page.role_figures import role_figure
from orc_repro.page.role_frames import RoleLog, role_frames
from orc_repro.project import REPORTS, ROLES, evaluated, trained
from orc_repro.report.markdown import interval, spread
from orc_repro.report.results import History, read_result
from orc_repro.report.tables import Comparison, comparisons
from orc_repro.stages.roles import read_roles
from orc_repro.validation import parse, read_json
from orc_repro.yaml_files import read_yaml

Runs = dict[str, dict[str, str]]
"""By fingerprint, a row of ``runs.csv``."""


@dataclass(frozen=True)
class Studied:
    """A study with what has been run of it."""

    folder: Path
    cells: Cells
    comparisons: tuple[Comparison, ...]


def read_studies(root: Path = Path("studies")) -> list[Studied]:
    """Every study, the default one first."""
    folders = [path.parent for path in root.glob("*/study.yaml")]
    found = []
    for folder in sorted(folders, key=lambda folder: (folder.name != "default", folder.name)):
        path = folder / "cells.yaml"
        cells = parse(Cells, read_yaml(path), str(path))
        results = {
            key: result
            for key, cell in cells.cells.items()
            if (result := read_result(key, evaluated(cell.study))) is not None
        }
        found.append(Studied(folder, cells, tuple(comparisons(cells, results))))
    return found


def read_runs() -> Runs:
    """The runs that ``runs.csv`` tells of."""
    path = REPORTS / "runs.csv"
    if not path.exists():
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return {str(row["fingerprint"]): {str(k): v for k, v in row.items()}
            for row in table.to_dict("records")}  # fmt: skip


def role_files(key: str, cell: Cell) -> tuple[Path, Path]:
    """A cell's picture of its roles, and the numbers by epoch."""
    folder = REPORTS / "roles" / cell.study
    return folder / f"{key}.svg", folder / f"{key}.csv"


def cost_file(studied: Studied, comparison: Comparison) -> Path:
    """A comparison's picture of cost against accuracy."""
    name = f"{comparison.dataset}-{comparison.group}-{comparison.recipe}.svg"
    return REPORTS / "cost" / studied.folder.name / name


def draw_pictures(studied: Studied, runs: Runs) -> None:
    """Draw a study's costs, and the roles of those cells whose role changes are on this machine.

    What is there already, of the same numbers, is left as it is: another version of the drawing
    library writes other bytes.
    """
    params = load_params()
    for key, cell in studied.cells.cells.items():
        if (ROLES / f"{key}.parquet").exists():
            _draw_roles(key, cell, params)
    for comparison in studied.comparisons:
        rows = costs(comparison, runs)
        path, drawn_from = cost_file(studied, comparison), cost_source(rows)
        if len(rows) > 1 and not drawing.is_drawn_from(path, drawn_from):
            drawing.save(cost_figure(rows, studied.cells.title), path, drawn_from)


def cost_source(rows: Iterable[Cost]) -> str:
    """A hash over what a picture of cost is drawn from, as far as digits are shown."""
    return drawing.source(
        *(
            f"{row.method} {row.device} {row.seconds:.4f} {interval(row.reached)}"
            f" {spread(row.reached)}"
            for row in rows
        )
    )


def role_log(key: str, cell: Cell, history: History, params: Params) -> RoleLog:
    """A trained cell's role changes.

    Raises:
        UserError: they are not on this machine, or the file is damaged.
    """
    students = params.groups[cell.group].students
    return RoleLog(
        changes=read_roles(key),
        students=students,
        epochs=len(history.epochs),
        steps_per_epoch=history.training_images // params.recipes[cell.recipe].batch_size,
        validation=[
            {
                name: value
                for name in students
                if (value := epoch.get(f"{name}/val_top1")) is not None
            }
            for epoch in history.epochs
        ],
    )


def _draw_roles(key: str, cell: Cell, params: Params) -> None:
    path = trained(cell.study) / f"{key}.json"
    if not path.exists():
        return
    history = read_json(History, path)
    if not history.role_changes:
        return
    log = role_log(key, cell, history, params)
    if len(log.changes) != history.role_changes:
        raise UserError(f"{ROLES / key}.parquet is not of the run that {path} tells of")
    frames = role_frames(log)
    picture, numbers = role_files(key, cell)
    text = frames.by_epoch.round(6).to_csv(index=False, lineterminator="\n")
    drawn_from = drawing.source(history.fingerprint, text)
    if not drawing.is_drawn_from(picture, drawn_from):
        drawing.save(role_figure(frames, key), picture, drawn_from)
        write_atomically(numbers, text.encode())


def roles_are_of_the_run(key: str, cell: Cell) -> bool:
    """Whether the picture of a cell's roles, if there is one, is of its run and its numbers."""
    picture, numbers = role_files(key, cell)
    history = trained(cell.study) / f"{key}.json"
    if not picture.exists() or not history.exists():
        return not picture.exists()
    if not numbers.exists():
        return False
    fingerprint = read_json(History, history).fingerprint
    drawn_from = drawing.source(fingerprint, numbers.read_text(encoding="utf-8"))
    return drawing.is_drawn_from(picture, drawn_from)
