"""What a benchmark says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        bench: which benchmark.
        variant: what was measured.
        value: its figure, in ``unit``.
        ratio: to what it is compared with; None for that itself.
        must: what the ratio has to reach on two CPU cores; ``(">=", 20.0)``.
        aim: what would be better.
        noisy: whether the machine was disturbed.
    """

    bench: str
    variant: str
    value: float
    unit: str
    ratio: float | None = None
    must: tuple[str, float] | None = None
    aim: tuple[str, float] | None = None
    noisy: bool = False

    @property
    def verdict(self) -> str:
        """How the ratio stands to what must hold and what is aimed at."""
        if self.ratio is None or self.must is None:
            return ""
        if self.aim is not None and _holds(self.ratio, self.aim):
            return "aim reached"
        return "holds" if _holds(self.ratio, self.must) else "**does not hold**"


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| benchmark | variant | figure | ratio | must | aim | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        verdict = row.verdict + (" (noisy)" if row.noisy else "")
        lines.append(
            f"| {row.bench} | {row.variant} | {row.value:,.4g} {row.unit} | {ratio}"
            f" | {_said(row.must)} | {_said(row.aim)} | {verdict} |"
        )
    return "\n".join(lines) + "\n"


def _said(bound: tuple[str, float] | None) -> str:
    return "" if bound is None else f"{bound[0]} {bound[1]:g}"


def _holds(ratio: float, bound: tuple[str, float]) -> bool:
    return ratio >= bound[1] if bound[0] == ">=" else ratio <= bound[1]
