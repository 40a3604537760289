"""Where a row stands in the studies: which tables show it, how many seeds, what was published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from orc_repro.config import architecture_of
from orc_repro.errors import UserError
from orc_repro.plan import Declaration, Row
from orc_repro.published.tables import Cell, PaperTable, find_table, load_tables
from orc_repro.report.paper import Paper
from orc_repro.tracking.description import Description
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml

STUDIES = Path("studies")


@dataclass(frozen=True)
class Place:
    """A study that declares a row.

    Attributes:
        study: the study's folder.
        title: what it is called.
        seeds: how many it declares.
        quoted: every published number of the same method and networks, the study's first table
            first.
        as_published: whether the row has the recipe, the dataset and the number of training images
            of the study's published tables.
    """

    study: str
    title: str
    seeds: int
    quoted: tuple[Cell, ...]
    as_published: bool = False


def places_of(about: Description) -> list[Place]:
    """Every study that declares a run's row; none for a trial, a pivot or an assistant."""
    tags = about.tags
    if "trial" in tags:
        return []
    found = []
    for name, declaration in _declared(STUDIES.resolve()).items():
        for row in declaration.rows:
            if _is_of(row, tags):
                paper = declaration.paper
                quoted = tuple(_quoted(paper, about)) if paper else ()
                same = paper is not None and _is_by_protocol(paper, about)
                found.append(Place(name, declaration.title, len(row.seeds), quoted, same))
    return found


def top1_accuracy(cell: Cell) -> float | None:
    """Return a published cell as top-1 accuracy in percent; None if it is not to be compared."""
    if cell.value is None or cell.why_not_compared:
        return None
    if cell.metric == "top1_accuracy_percent":
        return cell.value
    return 100 - cell.value if cell.metric == "top1_error_percent" else None


def _is_of(row: Row, tags: dict[str, str]) -> bool:
    return (
        (row.dataset, row.recipe) == (tags.get("dataset"), tags.get("recipe"))
        and tags.get("group") in row.groups
        and tags.get("method") in row.methods
    )


def _is_by_protocol(paper: Paper, about: Description) -> bool:
    ours = (about.tags.get("recipe"), about.tags.get("dataset"), about.images.get("train"))
    return ours == (paper.recipe, paper.dataset, paper.training_images)


def _quoted(paper: Paper, about: Description) -> Iterator[Cell]:
    group, names = about.tags["group"], paper.names.get(about.tags["method"], ())
    pivot, target = (about.params[f"group.{role}"] for role in ("pivot", "target"))
    pair = f"{architecture_of(pivot)} -> {architecture_of(target)}"
    if pivot == "none" or group in paper.networks:
        pair = paper.networks.get(group) or ""  # networks that are not known have no numbers
    for table in paper.tables:
        for cell in find_table(_tables(), table).cells:
            if cell.row in names and cell.networks == pair and cell.has_number:
                yield cell


# Read once in a process: a report delivers every run of a study, and each asks for all studies.
@cache
def _declared(root: Path) -> dict[str, Declaration]:
    found = {}
    for path in sorted(root.glob("*/study.yaml")):
        try:
            found[path.parent.name] = parse(Declaration, read_yaml(path), str(path))
        except UserError:
            continue  # a declaration that is being edited hinders no delivery
    return found


@cache
def _tables() -> tuple[PaperTable, ...]:
    return load_tables()
