"""Published tables as data: what a paper prints, who says so, and how far to believe it.

One YAML file a table, beside this module; ``sources.yaml`` says what was read. A number is
corrected there and nowhere else. What the marks mean: ``docs/published.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from orc_repro.errors import UserError, one_line
from orc_repro.ranges import LeastPercent, Percent
from orc_repro.validation import Name, Strict, parse
from orc_repro.yaml_files import read_yaml

Metric = Literal[
    "top1_accuracy_percent", "top1_error_percent", "top5_accuracy_percent", "top5_error_percent"
]
Confidence = Literal["stated", "quoted", "secondary", "inferred", "doubted", "unknown"]
Protocol = Literal["table"]
"""``table``: by the protocol of the table that has it."""
Text = Annotated[str, Field(min_length=1)]
SourceKeys = Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]

MEANINGS: Mapping[Confidence, str] = {
    "stated": "ORC's authors wrote it themselves",
    "quoted": "a peer's authors, or whoever ran it, wrote it themselves; says nothing about ORC",
    "secondary": "someone else's copy, note or summary has it",
    "inferred": "deduced; a note says how",
    "doubted": "someone has it, and there are reasons to think it wrong or misplaced; no target",
    "unknown": "the cell is there, its number was not seen",
}

OTHER_PROTOCOL = "protocol unknown or different"
SOURCES = "sources.yaml"
PACKAGE = files("orc_repro.published")


class Source(Strict):
    """Something that was read. ``address``: where, if the public can read it too."""

    title: Text
    worth: Text
    address: str | None


class Sources(Strict):
    """``sources.yaml``."""

    sources: dict[Name, Source]


class Column(Strict):
    """What a column is about.

    ``networks``: ``teacher -> student``, ``a + b`` for networks that learn together, or one
    network; null where the table's networks are not known. One metric a column, so accuracy and
    error never share one.
    """

    networks: Text | None
    metric: Metric | None


class Row(Strict):
    """Cells of one method that share sources and confidence.

    A method whose cells differ in these has several. ``values``: by column, null where the number
    was not seen. ``ranges``: lowest and highest, where only these are given. ``deviations``: the
    standard deviation of a value. ``protocol``: ``table`` where the row is known to be made by the
    table's protocol, and the method here by that name follows it; null otherwise.
    """

    row: Text
    sources: SourceKeys
    confidence: Confidence
    values: dict[Name, Percent | None] = Field(default_factory=dict)
    ranges: dict[Name, Annotated[tuple[Percent, Percent], Field(strict=False)]] = Field(
        default_factory=dict
    )
    deviations: dict[Name, LeastPercent] = Field(default_factory=dict)
    protocol: Protocol | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.values and not self.ranges:
            raise ValueError(f"row '{self.row}' has no cell")
        if both := self.values.keys() & self.ranges.keys():
            raise ValueError(f"row '{self.row}' has {min(both)} as a value and as a range")
        for column, value in self.values.items():
            if (value is None) != (self.confidence == "unknown"):
                raise ValueError(
                    f"row '{self.row}', {column}: null goes with the confidence unknown, a number"
                    " with any other"
                )
        if self.ranges and self.confidence == "unknown":
            raise ValueError(f"row '{self.row}' has a range of the confidence unknown")
        for column, (low, high) in self.ranges.items():
            if low >= high:
                raise ValueError(f"row '{self.row}', {column}: a range goes from low to high")
        for column in self.deviations:
            if self.values.get(column) is None:
                raise ValueError(f"row '{self.row}', {column}: a deviation without a value")
        return self


class Claim(Strict):
    """An order of two methods that is reported without numbers; ``protocol`` as in :class:`Row`."""

    better: Text
    worse: Text
    networks: Text | None
    sources: SourceKeys
    confidence: Confidence
    protocol: Protocol | None = None


class Cell(Strict):
    """One number, or the place of one, with everything that is said about it."""

    table: str
    row: str
    networks: str | None
    metric: Metric | None
    value: Percent | None
    range: tuple[Percent, Percent] | None
    deviation: LeastPercent | None
    confidence: Confidence
    sources: tuple[str, ...]
    protocol: Protocol | None
    note: str | None

    @property
    def has_number(self) -> bool:
        """Whether a value or a range was seen."""
        return self.value is not None or self.range is not None

    @property
    def protocol_remark(self) -> str:
        """Say that its protocol is unknown or different; empty if it is the table's."""
        return OTHER_PROTOCOL if self.has_number and not self.protocol else ""

    @property
    def why_not_compared(self) -> str:
        """Say why no difference to it is computed; empty where one may be."""
        if self.confidence == "doubted":
            return "doubted"
        if self.value is None:
            return "a range" if self.range else "not seen"
        return self.protocol_remark


class PaperTable(Strict):
    """A table. ``number``: of ORC's own; null for a peer's. ``id`` is also the file's name."""

    id: Name
    number: Annotated[int, Field(ge=1, le=10)] | None
    title: Text
    dataset: Literal["cifar10", "cifar100", "imagenet"] | None
    protocol: Text | None
    columns: dict[Name, Column]
    rows: tuple[Row, ...] = Field(min_length=1, strict=False)
    claims: tuple[Claim, ...] = Field(default=(), strict=False)
    notes: tuple[Text, ...] = Field(default=(), strict=False)
    unknown: tuple[Text, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        meanings = Counter((c.networks, c.metric) for c in self.columns.values())
        for (networks, metric), times in meanings.items():
            if times > 1:
                raise ValueError(f"two columns are {networks}, {metric}")
        seen: set[tuple[str, str]] = set()
        for row in self.rows:
            for key in (*row.values, *row.ranges):
                if key not in self.columns:
                    raise ValueError(f"row '{row.row}' names '{key}', which is no column")
                if (row.row, key) in seen:
                    raise ValueError(f"row '{row.row}' has {key} twice")
                seen.add((row.row, key))
                if self.columns[key].metric is None and row.confidence != "unknown":
                    raise ValueError(f"row '{row.row}', {key}: a number needs a metric")
        protocols = [row.protocol for row in self.rows] + [claim.protocol for claim in self.claims]
        if self.protocol is None and any(protocols):
            raise ValueError("a row or claim is by the table's protocol, which is null")
        return self

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell, row by row."""
        return tuple(
            Cell(
                table=self.id,
                row=row.row,
                networks=self.columns[key].networks,
                metric=self.columns[key].metric,
                value=row.values.get(key),
                range=row.ranges.get(key),
                deviation=row.deviations.get(key),
                confidence=row.confidence,
                sources=row.sources,
                protocol=row.protocol,
                note=row.note,
            )
            for row in self.rows
            for key in (*row.values, *row.ranges)
        )

    @property
    def numbers(self) -> int:
        """How many cells have a number."""
        return sum(cell.has_number for cell in self.cells)

    @property
    def sources(self) -> tuple[str, ...]:
        """The keys of every source of a cell or a claim, in order of appearance."""
        of_cells = [key for row in self.rows for key in row.sources]
        of_claims = [key for claim in self.claims for key in claim.sources]
        return tuple(dict.fromkeys(of_cells + of_claims))


def load_sources(folder: Traversable = PACKAGE) -> dict[str, Source]:
    """What was read, by key."""
    with as_file(folder / SOURCES) as path:
        return parse(Sources, read_yaml(path), SOURCES).sources


def load_tables(folder: Traversable = PACKAGE) -> tuple[PaperTable, ...]:
    """Every table, ORC's own first, then the peers' by name.

    Raises:
        UserError: a file is damaged, contradicts itself, or names a source that is not declared.
    """
    tables: list[PaperTable] = []
    for entry in folder.iterdir():
        if not entry.name.endswith(".yaml") or entry.name == SOURCES:
            continue
        with as_file(entry) as path:
            table = parse(PaperTable, read_yaml(path), entry.name)
        if entry.name != f"{table.id}.yaml":
            raise UserError(f"{one_line(entry.name)}: its id is '{table.id}'")
        tables.append(table)
    check_tables(tables, load_sources(folder))
    return tuple(sorted(tables, key=lambda t: (t.number is None, t.number or 0, t.id)))


def check_tables(tables: Iterable[PaperTable], sources: Mapping[str, Source]) -> None:
    """What no table can know alone.

    Raises:
        UserError: a source is not declared, or two tables have one id or one number.
    """
    ids: set[str | int] = set()
    for table in tables:
        for key in table.sources:
            if key not in sources:
                raise UserError(f"table {table.id} names the source '{key}'; {SOURCES} has none")
        for own in (table.id, table.number):
            if own is not None and own in ids:
                raise UserError(f"{own} is the id or the number of two tables")
            if own is not None:
                ids.add(own)


def find_table(tables: Iterable[PaperTable], table_id: str) -> PaperTable:
    """A table by id, or a UserError naming those that exist."""
    by_id = {table.id: table for table in tables}
    if table_id not in by_id:
        raise UserError(f"there is no table '{one_line(table_id)}' (there are {', '.join(by_id)})")
    return by_id[table_id]


def find_cell(table: PaperTable, row: str, networks: str | None, metric: Metric | None) -> Cell:
    """The one cell of a row, networks and metric, or a UserError."""
    for cell in table.cells:
        if (cell.row, cell.networks, cell.metric) == (row, networks, metric):
            return cell
    raise UserError(
        f"table {table.id} has no cell of '{one_line(row)}' for '{one_line(str(networks))}' in"
        f" {metric}"
    )
