"""How the numbers of ``reports/reproduction.md`` are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orc_repro.report.results import Result
from orc_repro.report.statistics import Summary

NOT_RUN = "not run"


def mean(found: Summary | None) -> str:
    """Mean ± sample standard deviation."""
    if found is None:
        return NOT_RUN
    return f"{found.mean:.2f}" + ("" if found.sd is None else f" ± {found.sd:.2f}")


def interval(found: Summary | None) -> str:
    """A mean difference with its 95 % interval."""
    if found is None:
        return NOT_RUN
    if found.low is None or found.high is None:
        return f"{found.mean:+.2f}"
    return f"{found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def welch(found: tuple[float, float] | None) -> str:
    """The interval alone."""
    return "" if found is None else f"{found[0]:+.2f} to {found[1]:+.2f}"


def p_words(value: float | None) -> str:
    """Three digits are enough."""
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def elected(runs: Iterable[Result]) -> str:
    """Each student's share of elections over all runs, and how often that changed in a run."""
    counts: dict[str, int] = {}
    changes = []
    for run in runs:
        changes.append(run.role_changes)
        for name, count in run.elected.items():
            counts[name] = counts.get(name, 0) + count
    total = sum(counts.values())
    if not total:
        return ""
    shares = ", ".join(f"{name} {100 * count / total:.0f} %" for name, count in counts.items())
    return f"{shares}; {sum(changes) / len(changes):.0f} changes"


def pivot(runs: Sequence[Result]) -> str:
    """The pivot's accuracy before and, on average, after."""
    befores = {run.pivot_before for run in runs if run.pivot_before is not None}
    afters = [net.last.top1 for run in runs for net in run.networks.values() if net.role == "pivot"]
    if not befores or not afters:
        return ""
    return f"{min(befores):.2f} → {sum(afters) / len(afters):.2f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
