"""Published numbers beside measured ones, as a table that people read and as rows of a CSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from orc_repro.published.show import figure
from orc_repro.published.tables import MEANINGS, Cell, Confidence, Metric
from orc_repro.report.markdown import NOT_RUN, difference, interval, spread
from orc_repro.report.paper import Block, Line, PaperColumns, Quoted
from orc_repro.report.paper_claims import ClaimLine
from orc_repro.report.tables import Comparison

PREFACE = """\
## Published beside measured

Measured: the target on the test split after the last epoch, mean ± sample standard deviation over
n seeds, with the 95 % interval of the mean by Student's t. Measured - published, in points, has
that interval shifted: the published number is taken as exact. A cell is a reproduction only where
its protocol is *as published*; otherwise the numbers say what differs. No difference is computed to
a published number whose protocol is unknown or different.
"""
CLAIMS = """\
### Claims

Better - worse, in points of top-1 accuracy after the last epoch, paired by seed, with its 95 %
interval. *Agrees* and *contradicts* only where that excludes zero, with three seeds or more. Both
compare two measured methods: they say nothing of a published number.
"""
COLUMNS = (
    *("table", "networks", "method", "metric", "quoted", "quoted_confidence", "quoted_sources"),
    *("measured_mean", "measured_sd", "measured_low", "measured_high", "n", "declared"),
    *("difference", "difference_low", "difference_high", "flags", "run_ids", "state"),
    *("quoted_row", "quoted_low", "quoted_high", "quoted_deviation", "quoted_protocol"),
    *("dataset", "group", "recipe"),
)
SHOWN_OF_A_RUN_ID = 8
LINE_BREAK = "<br>"


def paper_table(columns: PaperColumns) -> str:
    """A table for each pair of networks and metric, the claims, then what the numbers mean."""
    notes = _Footnotes()
    parts = [PREFACE]
    for block in columns.blocks:
        parts += _block(block, notes)
    if columns.claims:
        header = ["claim", "networks", "ours", "better - worse", "n", "verdict", "protocol"]
        parts += [CLAIMS, _table(header, [_claim(line, notes) for line in columns.claims])]
    if notes.numbers:
        listed = "".join(f"{number}. {text}\n" for text, number in notes.numbers.items())
        parts.append(f"Differences and remarks by number:\n\n{listed}")
    marks = {q.cell.confidence for b in columns.blocks for line in b.lines for q in line.quoted}
    marks |= {line.claim.confidence for line in columns.claims}
    if marks:
        lines = (f"- {_mark(m)} = {m}: {text}\n" for m, text in MEANINGS.items() if m in marks)
        parts.append("".join(lines))
    return "\n".join(parts)


def paper_rows(columns: PaperColumns) -> pd.DataFrame:
    """One row a published cell of a method, or one a method where nothing is published.

    Numbers are in percent, differences in points, of ``metric``, to four digits. ``table`` is the
    published table's id; ``quoted_low`` and ``quoted_high`` are a published range.
    """
    rows = [
        _row(block, line, quoted)
        for block in columns.blocks
        for line in block.lines
        for quoted in line.quoted or (None,)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).round(4)


def _row(block: Block, line: Line, quoted: Quoted | None) -> dict[str, object]:
    row: dict[str, object] = {
        "networks": block.networks,
        "method": line.method,
        "metric": block.metric,
        "n": line.measured.n if line.measured else 0,
        "declared": line.declared,
        "flags": "; ".join(line.flags),
        "run_ids": " ".join(run or "unknown" for run in line.runs.values()),
        "state": line.state(quoted),
    }
    if line.measured is not None:
        for key in ("mean", "sd", "low", "high"):
            row[f"measured_{key}"] = getattr(line.measured, key)
    if line.comparison is not None:
        for key in ("dataset", "group", "recipe"):
            row[key] = getattr(line.comparison, key)
    if quoted is not None:
        cell = quoted.cell
        row |= {
            "table": cell.table,
            "quoted": cell.value,
            "quoted_confidence": cell.confidence,
            "quoted_sources": " ".join(cell.sources),
            "quoted_row": cell.row,
            "quoted_deviation": cell.deviation,
            "quoted_protocol": "the table's" if cell.protocol else "unknown or different",
        }
        if cell.range is not None:
            row["quoted_low"], row["quoted_high"] = cell.range
        if quoted.difference is not None:
            row["difference"] = quoted.difference.mean
            row["difference_low"] = quoted.difference.low
            row["difference_high"] = quoted.difference.high
    return row


class _Footnotes:
    """Texts that are said once, by number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def cite(self, texts: Iterable[str]) -> str:
        return ", ".join(
            str(self.numbers.setdefault(text, len(self.numbers) + 1)) for text in texts
        )

    def protocol(self, flags: Sequence[str], same: bool) -> str:
        if flags:
            return f"not as published: {self.cite(flags)}"
        return "as published" if same else ""


def _block(block: Block, notes: _Footnotes) -> list[str]:
    header = [
        "method",
        "published",
        "measured",
        "95 % interval",
        "n",
        "measured - published",
        "protocol",
        "runs",
    ]
    declared = "; ".join(map(_place, block.comparisons))
    several = len(block.comparisons) > 1
    return [
        f"### {block.networks or 'Networks not known'}, {_unit(block.metric)}\n",
        f"Measured: {declared}.\n",
        _table(header, [_cells(line, several, notes) for line in block.lines]),
    ]


def _cells(line: Line, several: bool, notes: _Footnotes) -> list[str]:
    published = LINE_BREAK.join(_published(q.cell, line, notes) for q in line.quoted)
    if line.comparison is None:
        return [f"{line.method} (published only)", published, "", "", "", "", "", ""]
    n = line.measured.n if line.measured else 0
    absent = "not recorded" if line.runs else NOT_RUN
    against = [
        difference(q.difference) or f"none: {q.cell.why_not_compared}"
        for q in line.quoted
        if line.measured
    ]
    return [
        f"{line.method} ({_place(line.comparison)})" if several else line.method,
        published,
        spread(line.measured) or absent,
        interval(line.measured),
        str(n) if n == line.declared else f"{n} of {line.declared}",
        LINE_BREAK.join(against),
        notes.protocol(line.flags, any(q.difference for q in line.quoted)),
        " ".join(run[:SHOWN_OF_A_RUN_ID] if run else "-" for run in line.runs.values()),
    ]


def _published(cell: Cell, line: Line, notes: _Footnotes) -> str:
    row = f"{cell.row} " if cell.row != line.method else ""
    note = f" [{notes.cite([cell.note])}]" if cell.note else ""
    remark = f"; {cell.protocol_remark}" if cell.protocol_remark else ""
    return f"{row}{figure(cell)}, {cell.table} ({', '.join(cell.sources)}){note}{remark}"


def _claim(line: ClaimLine, notes: _Footnotes) -> list[str]:
    claim = line.claim
    said = f"{line.table} ({', '.join(claim.sources)})"
    where = line.networks or "not known"
    if line.comparison is not None:
        where += f" ({_place(line.comparison)})"
    return [
        f"{claim.better} > {claim.worse}: {claim.confidence}, {said}",
        where,
        f"{line.better} > {line.worse}" if line.better else "",
        difference(line.difference),
        str(line.difference.n) if line.difference else "",
        line.verdict,
        notes.protocol(line.flags, line.verdict in ("agrees", "contradicts", "undecided")),
    ]


def _mark(confidence: Confidence) -> str:
    return "?" if confidence == "unknown" else confidence[:2]  # as ``figure`` has it


def _place(comparison: Comparison) -> str:
    return f"`{comparison.dataset}`, group `{comparison.group}`, recipe `{comparison.recipe}`"


def _unit(metric: Metric) -> str:
    rank, what, unit = metric.split("_")
    return f"{rank[:3]}-{rank[3:]} {what} in {unit}"


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    # A published row's name is a stranger's, and a bar in it would be another column.
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (header, *lines)]
    rows.insert(1, ["---"] * len(header))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
