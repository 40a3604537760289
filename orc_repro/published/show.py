"""Published tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orc_repro.published.tables import (
    MEANINGS,
    OTHER_PROTOCOL,
    Cell,
    Column,
    PaperTable,
    find_table,
    load_tables,
)

FRAME = "|  "  # what a column takes beside its text


def show(table_id: str | None) -> None:
    """Print one table, or one line for each.

    Raises:
        UserError: there is no table of that id.
    """
    tables = load_tables()
    console = Console()
    if table_id is None:
        for line in overview(tables):
            print(line)  # not the console, which would break a long line
        return
    table = find_table(tables, table_id)
    console.print(Text(f"{table.id}, {table.dataset or 'dataset not known'}: {table.title}"))
    for panel in panels(table, console.width):
        console.print(panel)
    for line in remarks(table):
        console.print(Text(line))


def overview(tables: Iterable[PaperTable]) -> list[str]:
    """A line a table: id, dataset, cells with a number, what it compares, sources."""
    return [
        f"{t.id:<25}{t.dataset or '?':<10}{t.numbers:>4}  {t.title} [{', '.join(t.sources)}]"
        for t in tables
    ]


def panels(table: PaperTable, width: int) -> list[Table]:
    """The table, cut between columns where it is wider than the terminal; no number is cut."""
    by_row: dict[str, dict[Column, str]] = {}
    for cell in table.cells:
        column = Column(networks=cell.networks, metric=cell.metric)
        by_row.setdefault(cell.row, {})[column] = figure(cell)
    room = width - len(FRAME) - max(map(len, by_row))
    cuts: list[list[Column]] = [[]]
    left = room
    for column in table.columns.values():
        texts = [
            *heading(column).splitlines(),
            *(cells.get(column, "") for cells in by_row.values()),
        ]
        needed = len(FRAME) + max(map(len, texts))
        if needed > left and cuts[-1]:
            cuts.append([])
            left = room
        cuts[-1].append(column)
        left -= needed
    return [_panel(columns, by_row) for columns in cuts]


def _panel(columns: list[Column], by_row: dict[str, dict[Column, str]]) -> Table:
    shown = Table("")
    for column in columns:
        shown.add_column(Text(heading(column)), no_wrap=True)
    for row, cells in by_row.items():
        if any(column in cells for column in columns):
            shown.add_row(Text(row), *(Text(cells.get(column, "")) for column in columns))
    return shown


def heading(column: Column) -> str:
    """Networks, one below the other, then the metric."""
    networks = (
        (column.networks or "networks not known").replace(" -> ", "\n-> ").replace(" + ", "\n+ ")
    )
    metric = (column.metric or "metric not known").removesuffix("_percent").replace("_", "\n")
    return f"{networks}\n{metric}{' %' if column.metric else ''}"


def figure(cell: Cell) -> str:
    """The number with its mark, or a question mark."""
    if cell.range is not None:
        number = f"{cell.range[0]:g} to {cell.range[1]:g}"
    elif cell.value is not None:
        number = f"{cell.value:.2f}"
        number += f" ± {cell.deviation:g}" if cell.deviation is not None else ""
    else:
        return "?"
    return f"{number} {cell.confidence[:2]}"


def remarks(table: PaperTable) -> list[str]:
    """Everything beside the numbers, a line each."""
    used = {row.confidence for row in table.rows}
    lines = [f"{mark[:2]} = {mark}: {MEANINGS[mark]}" for mark in MEANINGS if mark in used]
    lines = [line.replace("un = unknown", "?  = unknown") for line in lines]
    by_note: dict[str, list[str]] = {}
    for row in table.rows:
        if row.note:
            by_note.setdefault(row.note, []).append(row.row)
    lines += [f"{'; '.join(dict.fromkeys(rows))}: {note}" for note, rows in by_note.items()]
    for claim in table.claims:
        where = f" ({claim.networks})" if claim.networks else ""
        lines.append(f"{claim.better} > {claim.worse}{where}: {claim.confidence}")
    lines += [f"protocol: {table.protocol or 'not known'}"]
    others = dict.fromkeys(row.row for row in table.rows if not row.protocol)
    if table.protocol and others:
        lines.append(f"{OTHER_PROTOCOL}, in some cells at least: {'; '.join(others)}")
    lines += table.notes
    lines += [f"not known: {line}" for line in table.unknown]
    return [*lines, f"sources: {', '.join(table.sources)}"]
