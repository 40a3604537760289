"""In what order the cells of all studies are worked off: by value for cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from orc_repro.cells import Cell, Study, load_cells
from orc_repro.config import Params
from orc_repro.errors import UserError
from orc_repro.project import ASSISTANTS, PIVOTS, POOLS
from orc_repro.queue.cost import flop_of_group, flop_per_image, share_out
from orc_repro.studies import find_studies

TIERS: tuple[tuple[str, ...], ...] = (
    ("default",),
    ("scaled_tuning",),
    ("scaled_table*",),
    ("scaled_ablations",),
    ("scaled_*",),
    ("table01_*",),
    ("table02_*", "table04_*"),
    ("table05_*", "table06_*", "table07_*", "table08_*", "table09_*", "table10_*"),
    ("*",),
    ("table03_*",),
)
"""Studies by name, what is most wanted first: the scaled reproduction (every claim in the time of
one cell of full size, and its tuning before all), the headline, the pairs that most methods quote,
what takes the method apart, all others, and last the one that takes a hundred times as long.
"""


@dataclass(frozen=True)
class Entry:
    """A cell in the queue.

    Attributes:
        study: the first study in the queue that shows it.
        owner: the folder of the study or pool that has its stages.
        key: its key there.
        cell: what it is.
        weight: its arithmetic an image, times epochs.
        family: what must not be torn apart: cells whose teachers begin with the same pivot.
    """

    study: str
    owner: Path
    key: str
    cell: Cell
    weight: float
    family: str


def tier_of(study: str) -> int:
    """Where a study stands; the pattern that says most of it counts."""
    fits = [(len(p), -i) for i, tier in enumerate(TIERS) for p in tier if fnmatch(study, p)]
    return -max(fits)[1]


def read_entries(
    wanted: Sequence[str], params: Params, root: Path = Path("studies")
) -> list[Entry]:
    """The cells of the studies that are meant (see :func:`find_studies`; of all, without any), in
    order.

    Raises:
        UserError: no study is meant, or a file of cells is damaged, or names what params.yaml or
            the pool of its dataset does not have.
    """
    named = sorted(find_studies(wanted or ["*"], root))
    studies = {name: _read(root / name, params) for name in named}
    datasets = {c.dataset for study in studies.values() for c in study.cells.cells.values()}
    pools = {
        name: _read(root / POOLS / name, params)
        for name in datasets
        if (root / POOLS / name).is_dir()
    }
    return ordered(studies, pools, params, root)


def ordered(
    studies: Mapping[str, Study], pools: Mapping[str, Study], params: Params, root: Path
) -> list[Entry]:
    """Every cell once: studies by tier, in a tier groups from small to large, in a group seed by
    seed, so that methods can be compared as early as possible; then as declared.
    """
    found: dict[tuple[Path, str], tuple[tuple[float, ...], Entry]] = {}
    for number, (name, study) in enumerate(studies.items()):
        for place, (key, cell) in enumerate(study.cells.cells.items()):
            pool = study if study.cells.datasets else pools.get(cell.dataset)
            if pool is None:
                raise UserError(
                    f"{study.folder} has cells of {root / POOLS / cell.dataset}, which is not"
                    " there; `orc-repro plan` writes both"
                )
            epochs = params.recipes[cell.recipe].epochs
            group = params.groups[cell.group]
            weight = flop_per_image(params.methods[cell.method], group) * epochs
            entry = Entry(name, pool.folder, key, cell, weight, _family(key, cell, pool))
            rank = (tier_of(name), flop_of_group(group) * epochs, cell.seed, number, place)
            if (pool.folder, key) not in found or rank < found[pool.folder, key][0]:
                found[pool.folder, key] = rank, entry
    return [entry for _, entry in sorted(found.values(), key=lambda pair: pair[0])]


def shared(entries: Sequence[Entry], share: int, shares: int) -> list[Entry]:
    """The entries of one share (counted from 1) of machines that know nothing of each other.

    Cells that begin with one pivot stay together: it is trained once, and it has the same bits in
    all of them. Each dataset is dealt by itself.
    """
    families: dict[str, dict[str, float]] = {}
    for entry in entries:
        weights = families.setdefault(entry.cell.dataset, {})
        weights[entry.family] = weights.get(entry.family, 0.0) + entry.weight
    dealt = {name: share_out(weights, shares) for name, weights in families.items()}
    return [e for e in entries if dealt[e.cell.dataset][e.family] == share - 1]


def _read(folder: Path, params: Params) -> Study:
    return Study(params, load_cells(folder), folder)


def _family(key: str, cell: Cell, pool: Study) -> str:
    """The pivot that a cell begins with, however long the chain; the cell itself without one."""
    path = Path(cell.starts_from)
    while path.parent == ASSISTANTS:
        path = Path(pool.assistant(path.stem).starts_from)
    # The last assistant of a chain starts from the one before, the first from the pivot.
    return path.stem if path.parent == PIVOTS else key
