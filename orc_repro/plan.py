"""From what a study declares to its cells.

A study (``studies/<name>/study.yaml``) either has cells of its own, or takes them from *pools*:
one for each dataset, with every cell that any such study declares on it. So a cell, a pivot or an
assistant that several tables need is one stage, trained once. All of ``studies/pools`` is
generated.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import product
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from orc_repro.cells import Assistant, Cell, Cells, Dataset, Pivot, Study
from orc_repro.config import FolderData, Group, ImagenetData, Params, load_params
from orc_repro.errors import UserError, one_line
from orc_repro.given.declaration import GivenWeights
from orc_repro.pipelines import header_of, pipeline_of, write_pipeline
from orc_repro.pools import add, into_pools, left_behind, refuse_shared_stages, remove
from orc_repro.project import ASSISTANTS, DEFAULT, LISTINGS, PIVOTS, POOLS, PREPARED
from orc_repro.ranges import Seed
from orc_repro.report.paper import Paper
from orc_repro.validation import LONGEST_NAME, Strict, is_name, parse
from orc_repro.yaml_files import read_yaml, write_yaml


class PivotDeclaration(Strict):
    """How a row's pivot and assistants are trained beforehand; or where the pivot comes from."""

    recipe: str
    seed: Seed
    weights: GivenWeights | None = None


class Row(Strict):
    """Methods on one dataset, each in every group, under one recipe and over the same seeds.

    ``assistants_by``: for a method, another one that trains its assistants; else it does itself. So
    variants of a method can share a chain.
    """

    dataset: str
    groups: tuple[str, ...] = Field(min_length=1, strict=False)
    recipe: str
    pivot: PivotDeclaration
    methods: tuple[str, ...] = Field(min_length=1, strict=False)
    seeds: tuple[Seed, ...] = Field(min_length=1, strict=False)
    assistants_by: dict[str, str] = Field(default_factory=dict)


class Declaration(Strict):
    """``study.yaml``.

    ``experiment``: MLflow's name for a study with cells of its own; null where they are in pools,
    each of which is an experiment. ``paper``: the published tables that the report sets beside.
    """

    title: str
    experiment: str | None
    rows: tuple[Row, ...] = Field(min_length=1, strict=False)
    paper: Paper | None = None

    @model_validator(mode="after")
    def _no_row_twice(self) -> Self:
        seen: set[tuple[str, str, str]] = set()
        for row in self.rows:
            for group, method in product(row.groups, row.methods):
                cell = (row.dataset, group, method)
                if cell in seen:
                    raise ValueError(f"{method} on {row.dataset} and {group} is declared twice")
                seen.add(cell)
        return self


def slug(*words: str) -> str:
    """A key of ``[a-z0-9-]`` only: DVC reads a dot in a key as a path.

    Raises:
        UserError: it is too long for a name.
    """
    key = "-".join(re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in words)
    if len(key) > LONGEST_NAME:
        raise UserError(f"the key '{one_line(key)}' has more than {LONGEST_NAME} characters")
    return key


def expand(declaration: Declaration, params: Params, study: str | None) -> Cells:
    """Every cell of a declaration, with all that has to be trained before.

    ``study``: the folder of the results; None where each cell's is the pool of its dataset.

    Raises:
        UserError: two cells come out under one key, or a name is not in ``params.yaml``.
    """
    found = Cells(
        title=declaration.title,
        experiment=declaration.experiment or "",
        datasets={},
        pivots={},
        assistants={},
        cells={},
    )
    for row in declaration.rows:
        _check_names(row, params)
        found.datasets[row.dataset] = Dataset(input=_input_of(params, row.dataset))
        for group, method in product(row.groups, row.methods):
            teachers = _teachers(row, method, group, params.groups[group], params, found)
            for seed in row.seeds:
                cell = Cell(
                    study=study or row.dataset,
                    dataset=row.dataset,
                    group=group,
                    method=method,
                    recipe=row.recipe,
                    seed=seed,
                    teachers=teachers,
                    starts_from=_last(teachers, row.dataset),
                )
                add(found.cells, slug(row.dataset, group, method, f"s{seed}"), cell)
    return found


def _check_names(row: Row, params: Params) -> None:
    for section, names in (
        ("data", [row.dataset]),
        ("groups", row.groups),
        ("recipes", [row.recipe, row.pivot.recipe]),
        ("methods", (*row.methods, *row.assistants_by.values())),
    ):
        known = getattr(params, section)
        for name in names:
            if name not in known:
                raise UserError(
                    f"study.yaml names '{one_line(name)}', which params.yaml's {section} does"
                    f" not have (it has {one_line(', '.join(known))})"
                )
    for name in row.assistants_by:
        if name not in row.methods:
            raise UserError(
                f"study.yaml: assistants_by names '{one_line(name)}', which is not among the row's"
                f" methods ({one_line(', '.join(row.methods))})"
            )


def _teachers(
    row: Row, method: str, name: str, group: Group, params: Params, found: Cells
) -> dict[str, str]:
    """What a method wants trained before, as paths of weights by name; adds it to the cells."""
    from orc_repro.distill import METHODS  # here: reading a plan loads no torch

    kind = METHODS[params.methods[method].kind]
    try:
        names = kind.teachers_of(group)
    except ValueError:
        raise UserError(
            f"params.yaml: groups.{name}.pivot is null; {method} needs a pivot"
        ) from None
    paths = {}
    for network in names:
        if network == group.pivot:
            recipe, seed, given = row.pivot.recipe, row.pivot.seed, row.pivot.weights
            made_by = (recipe, f"s{seed}") if given is None else (given.source, given.label)
            key = slug(row.dataset, network, *made_by)
            pivot = Pivot(
                dataset=row.dataset, network=network, recipe=recipe, seed=seed, weights=given
            )
            add(found.pivots, key, pivot)
            paths[network] = (PIVOTS / f"{key}.safetensors").as_posix()
        else:
            by = row.assistants_by.get(method, method)
            paths[network] = _assistant(row, by, name, group.up_to(network), params, found)
    return paths


def _assistant(row: Row, method: str, name: str, chain: Group, params: Params, found: Cells) -> str:
    teachers = _teachers(row, method, name, chain, params, found)
    recipe, seed = row.pivot.recipe, row.pivot.seed
    key = slug(row.dataset, name, method, chain.target, recipe, f"s{seed}")
    assistant = Assistant(
        dataset=row.dataset,
        group=name,
        network=chain.target,
        method=method,
        recipe=recipe,
        seed=seed,
        teachers=teachers,
        starts_from=_last(teachers, row.dataset),
    )
    add(found.assistants, key, assistant)
    return (ASSISTANTS / f"{key}.safetensors").as_posix()


def _last(teachers: Mapping[str, str], dataset: str) -> str:
    manifest = (PREPARED / dataset / "manifest.json").as_posix()
    return [manifest, *teachers.values()][-1]


def _input_of(params: Params, dataset: str) -> str:
    config = params.data[dataset]
    if isinstance(config, ImagenetData):
        # DVC would hash every file of the folder whenever it looks.
        return (LISTINGS / f"{dataset}.json").as_posix()
    # DVC's stage has one dependency for each dataset; where there are no files, one that never
    # changes.
    return config.root if isinstance(config, FolderData) else "orc_repro/py.typed"


def planned(params: Params, root: Path = Path("studies")) -> dict[Path, Cells]:
    """Every ``cells.yaml`` there should be, by its folder: the studies' and the pools'.

    Raises:
        UserError: a declaration is wrong, or two studies would have the same stage.
    """
    declared = {
        path.parent: parse(Declaration, read_yaml(path), str(path))
        for path in sorted(root.glob("*/study.yaml"))
    }
    for folder in declared:
        if not is_name(folder.name):
            raise UserError(
                f"{one_line(str(folder))}: a study's folder begins with a letter or digit, and has"
                f" these, '.', '_' and '-' alone, at most {LONGEST_NAME}"
            )
    found: dict[Path, Cells] = {}
    pools: dict[Path, Cells] = {}
    for folder, declaration in declared.items():
        own = declaration.experiment is not None
        cells = expand(declaration, params, folder.name if own else None)
        if not own:
            into_pools(cells, pools, root / POOLS)
            nothing: dict[str, object] = {"datasets": {}, "pivots": {}, "assistants": {}}
            cells = cells.model_copy(update=nothing)
        found[folder] = cells
    for pool in pools:
        if (root / pool.name) in declared:
            raise UserError(f"{root / pool.name} and the pool {pool} would share their results")
    refuse_shared_stages(found | pools)
    return found | pools


def plan(
    root: Path = Path("studies"),
    params_path: Path = Path("params.yaml"),
    wanted: Collection[Path] = (),
) -> list[str]:
    """Write every ``cells.yaml``, and pipelines; remove what it wrote for pools that are gone.

    Args:
        root: the folder of the studies.
        params_path: the parameters.
        wanted: studies whose pipelines, and those of their pools, are written; besides these the
            default study's is, and those that are there already.

    Returns:
        A line for each study and pool.
    """
    params = load_params(params_path)
    lines = []
    found = planned(params, root)
    shown = {
        root / POOLS / cell.dataset
        for folder in wanted
        if folder in found
        for cell in found[folder].cells.values()
    }
    for folder, cells in found.items():
        Study(params, cells, folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "cells.yaml"
        before = path.read_bytes() if path.exists() else b""
        write_yaml(path, cells.model_dump(mode="json", exclude_none=True), header_of(folder))
        pipeline = pipeline_of(folder)
        if folder.name == DEFAULT or folder in shown.union(wanted) or pipeline.exists():
            write_pipeline(folder, cells)
        state = "up to date" if path.read_bytes() == before else "written"
        lines.append(f"{path}: {len(cells.cells)} cells, {len(cells.pivots)} pivots, {state}")
    left = left_behind(root, found)
    return lines + [remove(folder, written, root) for folder, written in left.items()]
