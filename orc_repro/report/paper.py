"""Published numbers beside measured ones: what is comparable, by how much, and what differs.

``docs/published.md`` says how to read it. A study's declaration embeds :class:`Paper`, so this
module must not load what reads the declaration; ``paper_markdown`` renders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import Field, field_validator

from orc_repro.errors import UserError, one_line
from orc_repro.published.tables import Cell, Metric, PaperTable, Text, find_table
from orc_repro.ranges import Images
from orc_repro.report.paper_claims import ClaimLine, claim_lines
from orc_repro.report.paper_protocol import Protocol
from orc_repro.report.statistics import Summary, summarise
from orc_repro.validation import Name, Strict

if TYPE_CHECKING:
    from orc_repro.config import Recipe
    from orc_repro.report.tables import Comparison, MethodRow

State = Literal["quoted", "measured", "both", "not run", "not recorded"]


class Paper(Strict):
    """Which published tables a study's numbers stand beside, and by which protocol those are.

    ``tables``: ids, ORC's own first. ``recipe``: the one of ``params.yaml`` that is the tables'
    protocol. ``dataset`` and ``training_images``: what the tables' networks are trained on, the
    number without any split held out. ``metric``: what is shown where nothing is quoted.
    ``names``: our method -> the published rows, or sides of claims, that are the same method.
    ``networks``: our group -> the published columns' networks, where these are not just pivot and
    target; null for a column whose networks are not known.
    """

    tables: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
    recipe: Text
    dataset: Text
    training_images: Images
    metric: Metric
    names: dict[Name, Annotated[tuple[Text, ...], Field(strict=False)]]
    networks: dict[Name, Text | None]

    @field_validator("tables")
    @classmethod
    def _once_each(cls, tables: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(tables)) < len(tables):
            raise ValueError("a table is named twice")
        return tables


@dataclass(frozen=True)
class Quoted:
    """A published cell beside a measured mean.

    Attributes:
        cell: the number, in the percent of its column's metric, and who says so.
        difference: measured - published in points of that metric, with the 95 % interval of the
            measured mean shifted along: the published number is taken as exact. None where nothing
            was measured or the number is not to be compared.
    """

    cell: Cell
    difference: Summary | None


@dataclass(frozen=True)
class Line:
    """A method on one pair of networks in one metric.

    Attributes:
        method: our method's name, or the published row's where we have no such method.
        comparison: what our method was declared in; None for a published row alone.
        quoted: every published cell of the same method.
        measured: the target's last-epoch test accuracy or error over the seeds, in percent.
        declared: number of seeds the study declares.
        flags: what differs from the published protocol, or that it is not known to be the tables';
            empty if nothing does or nothing was run.
        runs: the run id of each seed that was run; None where it is not known.
    """

    method: str
    comparison: Comparison | None
    quoted: tuple[Quoted, ...]
    measured: Summary | None
    declared: int
    flags: tuple[str, ...]
    runs: Mapping[int, str | None]

    def state(self, quoted: Quoted | None) -> State:
        """Which numbers there are, of our method and of one published cell.

        ``not recorded``: it was run, and its results lack this metric (top-5 on few classes).
        """
        number = quoted is not None and quoted.cell.has_number
        if self.measured is not None:
            return "both" if number else "measured"
        if number:
            return "quoted"
        return "not recorded" if self.runs else "not run"


@dataclass(frozen=True)
class Block:
    """Everything on one pair of networks in one metric; ``networks`` is None where not known."""

    networks: str | None
    metric: Metric
    comparisons: tuple[Comparison, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class PaperColumns:
    """A study beside its paper: a block for each pair of networks and metric, and the claims."""

    blocks: tuple[Block, ...]
    claims: tuple[ClaimLine, ...]


def paper_columns(
    paper: Paper,
    published_tables: Iterable[PaperTable],
    comparisons: Sequence[Comparison],
    networks: Mapping[str, str | None],
    recipes: Mapping[str, Recipe],
    training_images: Mapping[str, int | None],
    runs: Mapping[str, str],
) -> PaperColumns:
    """Set a study's comparisons beside the published tables it names.

    Args:
        networks: group -> the published columns' name of it, such as ``resnet56 -> resnet20``;
            None for the columns whose networks are not known.
        recipes: of ``params.yaml``, by name.
        training_images: dataset -> how many images its training split has; None if not known.
        runs: fingerprint -> run id.

    Raises:
        UserError: a table, the recipe or a name of ``paper`` does not exist, or the tables are of
            several datasets.
    """
    every = tuple(published_tables)
    tables = tuple(find_table(every, table) for table in paper.tables)
    _check(paper, every, tables, recipes)
    protocol = Protocol(paper, recipes, training_images)
    pairs = dict.fromkeys(networks[comparison.group] for comparison in comparisons)
    blocks = []
    for pair in pairs:
        ours = tuple(c for c in comparisons if networks[c.group] == pair)
        cells = [cell for table in tables for cell in table.cells if cell.networks == pair]
        # A cell without a metric has no number either; it stands where ours would.
        metrics = {cell.metric or paper.metric for cell in cells} or {paper.metric}
        for metric in sorted(metrics, key=get_args(Metric).index):
            of_metric = [c for c in cells if (c.metric or paper.metric) == metric]
            lines = _lines(metric, ours, of_metric, protocol, runs)
            blocks.append(Block(pair, metric, ours, tuple(lines)))
    claims = [
        line
        for table in tables
        for claim in table.claims
        for line in claim_lines(table.id, claim, comparisons, networks, protocol)
    ]
    return PaperColumns(tuple(blocks), tuple(claims))


def _check(
    paper: Paper,
    every: Sequence[PaperTable],
    tables: Sequence[PaperTable],
    recipes: Mapping[str, Recipe],
) -> None:
    if paper.recipe not in recipes:
        raise UserError(f"paper.recipe '{one_line(paper.recipe)}' is not in params.yaml's recipes")
    datasets = {table.dataset for table in tables if table.dataset}
    # Another spelling of the dataset is possible; a published one means what it says.
    datasets |= {table.dataset for table in every if table.dataset == paper.dataset}
    if len(datasets) > 1:
        raise UserError(f"paper.tables mixes datasets: {', '.join(sorted(map(str, datasets)))}")
    known = {row.row for table in tables for row in table.rows}
    known |= {side for t in tables for claim in t.claims for side in (claim.better, claim.worse)}
    for method, names in paper.names.items():
        for name in names:
            if name not in known:
                raise UserError(f"paper.names.{method}: no table has '{one_line(name)}'")


def _lines(
    metric: Metric,
    comparisons: Sequence[Comparison],
    cells: Sequence[Cell],
    protocol: Protocol,
    runs: Mapping[str, str],
) -> list[Line]:
    lines, placed = [], set()
    for comparison in comparisons:
        for row in comparison.rows:
            names = protocol.paper.names.get(row.method, ())
            placed |= set(names)
            measured = _measured(row, metric)
            quoted = tuple(_quoted(cell, measured) for cell in cells if cell.row in names)
            flags = protocol.flags(row, measured.n if measured else len(row.results))
            if row.results:
                flags += [
                    f"{q.cell.row} in {q.cell.table}: {q.cell.protocol_remark}"
                    for q in quoted
                    if q.cell.protocol_remark
                ]
            lines.append(
                Line(
                    method=row.method,
                    comparison=comparison,
                    quoted=quoted,
                    measured=measured,
                    declared=row.declared,
                    flags=tuple(dict.fromkeys(flags)),
                    runs={seed: runs.get(r.fingerprint) for seed, r in sorted(row.results.items())},
                )
            )
    for name in dict.fromkeys(cell.row for cell in cells if cell.row not in placed):
        quoted = tuple(Quoted(cell, None) for cell in cells if cell.row == name)
        lines.append(Line(name, None, quoted, None, 0, (), {}))
    return lines


def _measured(row: MethodRow, metric: Metric) -> Summary | None:
    scores = [result.target.last for result in row.results.values()]
    accuracies = [s.top5 if metric.startswith("top5") else s.top1 for s in scores]
    known = [a for a in accuracies if a is not None]
    values = [100 - a for a in known] if "_error_" in metric else known
    return summarise(values) if values else None


def _quoted(cell: Cell, measured: Summary | None) -> Quoted:
    if measured is None or cell.value is None or cell.why_not_compared:
        return Quoted(cell, None)
    return Quoted(cell, _shifted(measured, cell.value))


def _shifted(summary: Summary, by: float) -> Summary:
    low = None if summary.low is None else summary.low - by
    high = None if summary.high is None else summary.high - by
    return Summary(summary.n, summary.mean - by, summary.sd, low, high)
