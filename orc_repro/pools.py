"""Pools: the cells that several studies show, one pool for each dataset, all of it generated.

A pool that no study declares any more must go: DVC reads every pipeline it finds, and refuses a
project in which two of them write one file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

from orc_repro.cells import Cells
from orc_repro.errors import UserError
from orc_repro.pipelines import BEHAVIOUR, GENERATED
from orc_repro.project import POOLS, RESULTS

Entry = TypeVar("Entry")

WRITTEN = ("cells.yaml", "dvc.yaml")


def add(entries: dict[str, Entry], key: str, entry: Entry) -> None:
    """Add what may be there already, from another row or study, but then the same."""
    if entries.setdefault(key, entry) != entry:
        raise UserError(f"'{key}' is declared twice, and not the same: {entries[key]} and {entry}")


def into_pools(cells: Cells, pools: dict[Path, Cells], root: Path) -> None:
    """Add a study's cells, and what they need, to the pools of their datasets."""
    for name, dataset in cells.datasets.items():
        empty = Cells(
            title=f"Every cell on {name}",
            experiment=f"orc/{name}",
            datasets={name: dataset},
            pivots={},
            assistants={},
            cells={},
        )
        pool = pools.setdefault(root / name, empty)
        for key, pivot in cells.pivots.items():
            if pivot.dataset == name:
                add(pool.pivots, key, pivot)
        for key, assistant in cells.assistants.items():
            if assistant.dataset == name:
                add(pool.assistants, key, assistant)
        for key, cell in cells.cells.items():
            if cell.dataset == name:
                add(pool.cells, key, cell)


def refuse_shared_stages(found: Mapping[Path, Cells]) -> None:
    """DVC refuses a whole project in which two stages write one file."""
    owners: dict[str, Path] = {}
    for folder, cells in found.items():
        if not cells.datasets:
            continue
        for key in (*cells.datasets, *cells.pivots, *cells.assistants, *cells.cells):
            if (other := owners.setdefault(key, folder)) != folder:
                raise UserError(
                    f"'{key}' is in {other} and in {folder}; a study that shares a dataset has"
                    " `experiment: null`, so that its cells are in a pool"
                )


def left_behind(root: Path, found: Collection[Path]) -> dict[Path, list[Path]]:
    """What ``plan`` once wrote for pools that no study declares any more, by their folders."""
    left = {
        folder: [path for name in WRITTEN if _is_generated(path := folder / name)]
        for folder in sorted((root / POOLS).glob("*"))
        if folder not in found
    }
    return {folder: [*paths, *folder.glob(BEHAVIOUR)] for folder, paths in left.items() if paths}


def remove(folder: Path, written: Collection[Path], root: Path) -> str:
    """Remove what was written for a pool, and nothing that was measured; returns what to print.

    DVC's lock is of use again if a study declares the pool once more, and harmless until then.
    """
    for path in written:
        path.unlink()
    kept = [
        path.as_posix()
        for path in (folder / "dvc.lock", root.parent / RESULTS / folder.name)
        if path.exists()
    ]
    if not any(folder.iterdir()):
        folder.rmdir()
    gone = f"{folder}: no study declares it; {' and '.join(p.name for p in written)} removed"
    return f"{gone}; {' and '.join(kept)} kept, for you to delete" if kept else gone


def _is_generated(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(f"# {GENERATED}".encode())
