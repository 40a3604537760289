"""Who taught: the networks that were trained before any cell, and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orc_repro.cells import Cells
from orc_repro.config import Params
from orc_repro.report.results import History, Result
from orc_repro.verdicts import words


@dataclass(frozen=True)
class Teacher:
    """A network that was trained before.

    Attributes:
        name: of its weights.
        dataset: that it was trained on.
        network: which.
        role: pivot or assistant.
        top1: its test accuracy in percent, as it was when the cells began.
    """

    name: str
    dataset: str
    network: str
    role: str
    top1: float


def teachers(pools: Sequence[Cells], results: Sequence[Result], params: Params) -> list[Teacher]:
    """The teachers of cells that were run, as the results have seen them."""
    cells = {key: cell for pool in pools for key, cell in pool.cells.items()}
    found: dict[str, Teacher] = {}
    for result in results:
        cell = cells.get(result.cell)
        if cell is None:
            continue
        for network, path in cell.teachers.items():
            if network == params.groups[cell.group].pivot:
                role, top1 = "pivot", result.pivot_before
            else:
                frozen = result.networks.get(network)
                role, top1 = "assistant", None if frozen is None else frozen.last.top1
            if top1 is not None:
                name = Path(path).stem
                found[name] = Teacher(name, result.dataset, network, role, top1)
    return sorted(found.values(), key=lambda one: (one.dataset, one.role != "pivot", one.name))


def table(
    found: Sequence[Teacher],
    histories: Mapping[str, History],
    runs: Mapping[str, Mapping[str, str]],
) -> str:
    """One row a teacher, with the run that made it.

    Args:
        found: which.
        histories: of their training, by name.
        runs: rows of ``runs.csv``, by fingerprint.
    """
    rows = []
    for one in found:
        history = histories.get(one.name)
        run = runs.get(history.fingerprint, {}) if history else {}
        rows.append(
            [one.dataset, one.network, one.role, f"`{one.name}`",
             str(len(history.epochs)) if history else "", f"{one.top1:.2f}",
             run.get("run_id", ""), run.get("commit", ""), run.get("seconds", "")]
        )  # fmt: skip
    heads = [
        "dataset", "network", "role", "weights", "epochs", "top-1", "run id", "commit", "seconds",
    ]  # fmt: skip
    return words.table(heads, rows) if rows else "None was needed so far."
