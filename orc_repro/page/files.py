"""What the page is made of: figures beside the reports, each with the numbers it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from orc_repro.cells import Cell, Cells, Study, load_cells
from orc_repro.config import Params, load_params
from orc_repro.csv_files import csv_text
from orc_repro.errors import UserError
from orc_repro.files import read_text, write_atomically
from orc_repro.page import drawing
from orc_repro.page.class_figures import class_figure, class_frame
from orc_repro.page.cost import Cost, cost_figure, costs
from orc_repro.page.role_figures import role_figure
from orc_repro.page.role_frames import RoleLog, role_frames
from orc_repro.plan import slug
from orc_repro.progress import Work
from orc_repro.project import REPORTS, ROLES, evaluated, trained
from orc_repro.report.markdown import interval, spread
from orc_repro.report.results import History, read_result
from orc_repro.report.runs import Runs
from orc_repro.report.tables import Comparison, comparisons
from orc_repro.stages.roles import read_roles
from orc_repro.tracking.role_file import Extent
from orc_repro.validation import read_json


@dataclass(frozen=True)
class Studied:
    """A study with what has been run of it."""

    folder: Path
    cells: Cells
    comparisons: tuple[Comparison, ...]


def read_studies(root: Path = Path("studies")) -> list[Studied]:
    """Return every study, the default one first.

    Raises:
        UserError: a file is damaged, or a study names what ``params.yaml`` does not have.
    """
    params = load_params()
    folders = [path.parent for path in root.glob("*/study.yaml")]
    found = []
    for folder in sorted(folders, key=lambda folder: (folder.name != "default", folder.name)):
        cells = Study(params, load_cells(folder), folder).cells
        results = {
            key: result
            for key, cell in cells.cells.items()
            if (result := read_result(key, evaluated(cell.study))) is not None
        }
        found.append(Studied(folder, cells, tuple(comparisons(cells, results))))
    return found


def role_files(key: str, cell: Cell) -> tuple[Path, Path]:
    """A cell's picture of its roles, and the numbers by epoch."""
    return _files("roles", key, cell)


def class_files(key: str, cell: Cell) -> tuple[Path, Path]:
    """A cell's picture of accuracy by class, and the numbers by class."""
    return _files("classes", key, cell)


def _files(kind: str, key: str, cell: Cell) -> tuple[Path, Path]:
    """The pictures have a folder of their own: DVC shows all of what is in it."""
    numbers = REPORTS / "numbers" / cell.study / f"{key}-{kind}.csv"
    return REPORTS / kind / cell.study / f"{key}.svg", numbers


def drawn_of(key: str, cell: Cell) -> dict[str, list[Path]]:
    """What there is of a cell's run, pictures and numbers, by kind."""
    every = {"roles": role_files(key, cell), "classes": class_files(key, cell)}
    return {
        kind: [path for path in files if path.exists()]
        for kind, files in every.items()
        if is_of_the_run(files, key, cell)
    }


def cost_file(studied: Studied, comparison: Comparison) -> Path:
    """A comparison's picture of cost against accuracy."""
    name = f"{comparison.dataset}-{comparison.group}-{comparison.recipe}.svg"
    return REPORTS / "cost" / studied.folder.name / name


def draw_pictures(studied: Studied, runs: Runs, work: Work) -> None:
    """Draw a study's costs, its accuracies by class, and the roles of those cells whose role
    changes are on this machine.

    What is there already, of the same numbers, is left as it is: another version of the drawing
    library writes other bytes.
    """
    params = load_params()
    for key, cell in studied.cells.cells.items():
        if (ROLES / f"{key}.parquet").exists():
            _draw_roles(key, cell, params)
        if (frame := classes_of(key, studied.cells, params)) is not None:
            result = read_result(key, evaluated(cell.study))
            assert result is not None
            _draw(
                class_files(key, cell), result.fingerprint, frame, partial(class_figure, frame, key)
            )
        work.done()
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
    students, epochs = params.groups[cell.group].students, len(history.epochs)
    steps_per_epoch = history.training_images // params.recipes[cell.recipe].batch_size
    return RoleLog(
        changes=read_roles(key, Extent(students, epochs, epochs * steps_per_epoch)),
        students=students,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
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
    draw = partial(role_figure, frames, key)
    _draw(role_files(key, cell), history.fingerprint, frames.by_epoch.round(6), draw)


def _draw(
    files: tuple[Path, Path], fingerprint: str, frame: pd.DataFrame, figure: Callable[[], Figure]
) -> None:
    picture, numbers = files
    text = csv_text(frame)
    drawn_from = drawing.source(fingerprint, text)
    if not (numbers.exists() and drawing.is_drawn_from(picture, drawn_from)):
        drawing.save(figure(), picture, drawn_from)
        numbers.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(numbers, text.encode())


def classes_of(key: str, cells: Cells, params: Params) -> pd.DataFrame | None:
    """A cell's accuracies by class; None if it is not evaluated, or its pivot never learns."""
    cell = cells.cells[key]
    result = read_result(key, evaluated(cell.study))
    if result is None or params.methods[cell.method].kind != "orc":
        return None
    # Whichever study asks: one that has the cell without this one must not draw it otherwise.
    named = (
        slug(cell.dataset, cell.group, name, f"s{cell.seed}")
        for name, method in params.methods.items()
        if method.kind == "ce"
    )
    alone = [
        beside
        for other in named
        if (beside := read_result(other, evaluated(cell.study))) is not None
        and (beside.recipe, beside.classes) == (cell.recipe, result.classes)
    ]
    return class_frame(result, alone[0] if alone else None).round(4)


def is_of_the_run(files: tuple[Path, Path], key: str, cell: Cell) -> bool:
    """Whether a picture, if there is one, is of its cell's run and its numbers."""
    picture, numbers = files
    history = trained(cell.study) / f"{key}.json"
    if not picture.exists() or not history.exists():
        return not picture.exists()
    if not numbers.exists():
        return False
    fingerprint = read_json(History, history).fingerprint
    drawn_from = drawing.source(fingerprint, read_text(numbers))
    return drawing.is_drawn_from(picture, drawn_from)
