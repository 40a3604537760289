"""Cells: what is to be run, one dataset x group x method x seed each.

``cells.yaml`` is expanded from a study's declaration by ``orc-repro plan`` and checked in; DVC's
stages range over it. A cell depends on its own entry there and on the parts of ``params.yaml``
that it names. How declarations become cells: ``orc_repro/plan.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from orc_repro.config import AnyMethod, Group, OrcConfig, Params, Recipe, load_params
from orc_repro.errors import UserError, one_line
from orc_repro.given.declaration import GivenWeights
from orc_repro.project import POOLS
from orc_repro.ranges import Seed
from orc_repro.validation import Name, Strict, parse
from orc_repro.yaml_files import read_yaml

Entry = TypeVar("Entry")

DEFAULT_STUDY = Path("studies/default")


class Dataset(Strict):
    """``input``: the path whose change makes the set be prepared again."""

    input: str


class Pivot(Strict):
    """A network trained alone before any cell that needs it, shared by all of them.

    ``weights``: where they come from if it was trained elsewhere; not written where it is not.
    """

    dataset: str
    network: Name
    recipe: str
    seed: Seed
    weights: GivenWeights | None = None


class Assistant(Strict):
    """A network of a chain, trained before any cell that needs it, shared by all of them.

    It is the target of its group up to itself (``Group.up_to``), taught by a method. ``teachers``:
    by name the path of each one's weights. ``starts_from``: the last of them; all others went into
    it.
    """

    dataset: str
    group: str
    network: Name
    method: str
    recipe: str
    seed: Seed
    teachers: dict[Name, str]
    starts_from: str


class Cell(Strict):
    """One run.

    ``study``: the folder of its results, and what has its stages. ``teachers``: networks that are
    trained before, by name the path of each one's weights. ``starts_from``: the last of these, of
    which the others are ancestors; where there is none, the data's manifest.
    """

    study: Name
    dataset: str
    group: str
    method: str
    recipe: str
    seed: Seed
    teachers: dict[Name, str]
    starts_from: str


class Cells(Strict):
    """``cells.yaml``. A study whose cells lie in pools has neither datasets, pivots nor
    assistants; the pools have them.
    """

    title: str
    experiment: str
    datasets: dict[Name, Dataset]
    pivots: dict[Name, Pivot]
    assistants: dict[Name, Assistant]
    cells: dict[Name, Cell]


class Study:
    """A study's cells with the parameters they name, checked against each other."""

    def __init__(self, params: Params, cells: Cells, folder: Path) -> None:
        self.params, self.cells, self.folder = params, cells, folder
        for key, pivot in cells.pivots.items():
            self._known("recipes", pivot.recipe, f"pivot {key}")
            self._known("data", pivot.dataset, f"pivot {key}")
        taught: dict[str, Cell | Assistant] = {**cells.assistants, **cells.cells}
        for key, cell in taught.items():
            for section, name in (
                ("data", cell.dataset),
                ("groups", cell.group),
                ("recipes", cell.recipe),
                ("methods", cell.method),
            ):
                self._known(section, name, f"cell {key}")
            self._check_method(cell)

    @property
    def name(self) -> str:
        """The folder's name, under which reports lie; and results, of a study with cells of its
        own.
        """
        return self.folder.resolve().name

    def _known(self, section: str, name: str, who: str) -> None:
        known = getattr(self.params, section)
        if name not in known:
            allowed = one_line(", ".join(known))
            raise UserError(
                f"{self.folder}: {who} names '{one_line(name)}', which params.yaml's {section} does"
                f" not have (it has {allowed})"
            )

    def _check_method(self, cell: Cell | Assistant) -> None:
        method, group = self.params.methods[cell.method], self.params.groups[cell.group]
        if cell.teachers and group.pivot is None:
            raise UserError(
                f"params.yaml: groups.{cell.group}.pivot is null; {cell.method} needs a pivot"
            )
        count = len(group.students)
        if isinstance(method, OrcConfig) and method.promotion.top_k > count:
            raise UserError(
                f"params.yaml: methods.{cell.method}.promotion.top_k is {method.promotion.top_k};"
                f" group {cell.group} has {count} students, so it must be 0 to {count}"
            )

    def cell(self, key: str) -> Cell:
        """A cell by key, or a UserError naming some that exist."""
        return self._entry(self.cells.cells, key, "cell")

    def pivot(self, key: str) -> Pivot:
        """A pivot by key, or a UserError naming those that exist."""
        return self._entry(self.cells.pivots, key, "pivot")

    def assistant(self, key: str) -> Assistant:
        """An assistant by key, or a UserError naming some that exist."""
        return self._entry(self.cells.assistants, key, "assistant")

    def _entry(self, entries: dict[str, Entry], key: str, what: str) -> Entry:
        if key not in entries:
            some = ", ".join(list(entries)[:9]) or "none"
            raise UserError(f"{self.folder}/cells.yaml has no {what} '{key}' (it has {some})")
        return entries[key]

    def parts(self, cell: Cell) -> tuple[Group, Recipe, AnyMethod]:
        """The group, recipe and method that a cell names."""
        params = self.params
        return params.groups[cell.group], params.recipes[cell.recipe], params.methods[cell.method]


def load_study(folder: Path = DEFAULT_STUDY, params: Path = Path("params.yaml")) -> Study:
    """Read and check ``params.yaml`` and a study's ``cells.yaml``."""
    return Study(load_params(params), load_cells(folder), folder)


def load_cells(folder: Path) -> Cells:
    """Read and check a study's ``cells.yaml``.

    Raises:
        UserError: it is missing or damaged, or the study was declared and not expanded.
    """
    path = folder / "cells.yaml"
    if not path.exists() and (folder / "study.yaml").exists():
        raise UserError(f"{path} does not exist; `orc-repro plan` writes it from study.yaml")
    return parse(Cells, read_yaml(path), str(path))


def load_study_of(cell: str, folder: Path = DEFAULT_STUDY) -> Study:
    """What has a cell's stages and results: the study itself, or the pool that it shows cells of.

    A cell that the default study does not have is looked for in every pool.
    """
    study = load_study(folder)
    shown = study.cells.cells.get(cell)
    if shown is not None:
        return (
            study if shown.study == study.name else load_study(folder.parent / POOLS / shown.study)
        )
    if folder == DEFAULT_STUDY:
        for path in sorted((folder.parent / POOLS).glob("*/cells.yaml")):
            pool = load_study(path.parent)
            if cell in pool.cells.cells:
                return pool
    return study
