"""The table that people read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orc_repro.report.results import NetworkResult
from orc_repro.report.statistics import Summary, summarise
from orc_repro.report.tables import Comparison, MethodRow

NOT_RUN = "not run"
PREFACE = """\
# Measured

Test accuracy in percent after the last epoch: mean ± sample standard deviation over n seeds
(ddof 1), with the 95 % interval of the mean by Student's t. *Against training alone* pairs the
seeds, which share the target's first weights and the order and augmentation of every batch. A
cell that nobody ran says so. Run ids and times: `runs.csv`; every network: `results.csv`.
"""


def report(studies: Iterable[tuple[str, Sequence[Comparison]]]) -> str:
    """``table.md`` from each study's title and comparisons."""
    parts = [PREFACE]
    for title, comparisons in studies:
        parts.append(f"## {title}\n")
        for comparison in comparisons:
            parts += _comparison(comparison)
    return "\n".join(parts)


def _comparison(comparison: Comparison) -> list[str]:
    parts = [
        f"Dataset `{comparison.dataset}`, group `{comparison.group}`, recipe"
        f" `{comparison.recipe}`.\n",
        _table(
            [
                "method",
                "target",
                "top-1, last epoch",
                "95 % interval",
                "n",
                "against training alone",
                "top-1, best validation epoch",
            ],
            [_method_cells(row) for row in comparison.rows],
        ),
    ]
    groups = [
        row for row in comparison.rows if any(len(r.networks) > 1 for r in row.results.values())
    ]
    if groups:
        parts += ["Every network:\n", _networks(groups)]
    elections = [row for row in groups if any(r.elected for r in row.results.values())]
    if elections:
        parts += ["Who was temporary teacher, and how often that changed:\n", _roles(elections)]
    return parts


def _method_cells(row: MethodRow) -> list[str]:
    if row.target is None:
        return [row.method, "", NOT_RUN, "", f"0 of {row.declared}", "", ""]
    some = next(iter(row.results.values()))
    n = str(row.target.n) if row.target.n == row.declared else f"{row.target.n} of {row.declared}"
    return [
        row.method + _doubts(row),
        some.target_name,
        spread(row.target),
        interval(row.target),
        n,
        difference(row.against_baseline),
        spread(row.best),
    ]


def _doubts(row: MethodRow) -> str:
    found = ["mixed configurations, run again"] if row.mixed else []
    if row.not_finite:
        found.append(f"a student's loss was not finite in {row.not_finite} of the runs")
    return f" ({'; '.join(found)})" if found else ""


def _networks(rows: Sequence[MethodRow]) -> str:
    lines = []
    for row in rows:
        before = [r.pivot_before for r in row.results.values() if r.pivot_before is not None]
        # Seeds of several configurations may have several networks.
        by_name: dict[str, list[NetworkResult]] = {}
        for result in row.results.values():
            for name, network in result.networks.items():
                by_name.setdefault(name, []).append(network)
        for name, networks in by_name.items():
            network, last = networks[0], [each.last.top1 for each in networks]
            started = f"{before[0]:.2f}" if network.role == "pivot" and before else ""
            lines.append(
                [
                    row.method,
                    name,
                    network.role,
                    f"{network.parameters:,}",
                    started,
                    spread(summarise(last)),
                ]
            )
    header = ["method", "network", "role", "parameters", "before", "top-1, last epoch"]
    return _table(header, lines)


def _roles(rows: Sequence[MethodRow]) -> str:
    lines = []
    for row in rows:
        for seed, result in sorted(row.results.items()):
            times = ", ".join(
                f"{name} {result.elected.get(name, 0):,}"
                for name, network in result.networks.items()
                if network.role != "pivot"
            )
            lines.append([row.method, str(seed), times, f"{result.role_changes:,}"])
    return _table(["method", "seed", "iterations as temporary teacher", "role changes"], lines)


def spread(summary: Summary | None) -> str:
    """``98.12 ± 0.31``; the mean alone for one seed."""
    if summary is None:
        return ""
    return f"{summary.mean:.2f}" + (f" ± {summary.sd:.2f}" if summary.sd is not None else "")


def interval(summary: Summary | None) -> str:
    """``97.35 to 98.89``; empty for one seed."""
    if summary is None or summary.low is None or summary.high is None:
        return ""
    return f"{summary.low:.2f} to {summary.high:.2f}"


def difference(summary: Summary | None) -> str:
    """``+0.42 (-0.10 to +0.94)``."""
    if summary is None:
        return ""
    if summary.low is None or summary.high is None:
        return f"{summary.mean:+.2f}"
    return f"{summary.mean:+.2f} ({summary.low:+.2f} to {summary.high:+.2f})"


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
