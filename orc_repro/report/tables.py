"""Results as rows: one a network for ``results.csv``, one a method for the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from orc_repro.cells import Cell, Cells
from orc_repro.report.results import Result
from orc_repro.report.statistics import Summary, paired_difference, summarise

BASELINE = "ce"


def network_rows(results: Sequence[Result]) -> pd.DataFrame:
    """One row per cell and network; accuracies in percent."""
    rows = [
        {
            "cell": result.cell,
            "dataset": result.dataset,
            "group": result.group,
            "recipe": result.recipe,
            "method": result.method,
            "network": name,
            "role": network.role,
            "seed": result.seed,
            "epochs": result.epochs,
            "parameters": network.parameters,
            "top1_last": network.last.top1,
            "top5_last": network.last.top5,
            "loss_last": network.last.loss,
            "best_validation_epoch": network.best.epoch,
            "top1_best_validation": network.best.top1,
            "fingerprint": result.fingerprint,
        }
        for result in results
        for name, network in result.networks.items()
    ]
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class MethodRow:
    """A method over its seeds.

    Attributes:
        declared: number of seeds the study declares.
        results: those that were run, by seed.
        target: the target's last-epoch test accuracy; None if nothing was run.
        best: the same at each seed's best validation epoch.
        against_baseline: the target's accuracy minus training alone's, paired by seed.
        mixed: whether the results come from more than one configuration.
    """

    method: str
    declared: int
    results: Mapping[int, Result]
    target: Summary | None
    best: Summary | None
    against_baseline: Summary | None
    mixed: bool

    @property
    def not_finite(self) -> int:
        """How many of the runs had a student whose loss was no longer finite."""
        return sum(bool(result.not_finite) for result in self.results.values())


@dataclass(frozen=True)
class Comparison:
    """Methods on one dataset and group under one recipe."""

    dataset: str
    group: str
    recipe: str
    rows: tuple[MethodRow, ...]


def comparisons(cells: Cells, results: Mapping[str, Result]) -> list[Comparison]:
    """A study's comparisons in the order they were declared, with what has been run of each."""
    declared: dict[tuple[str, str, str], dict[str, list[tuple[str, Cell]]]] = {}
    for key, cell in cells.cells.items():
        place = declared.setdefault((cell.dataset, cell.group, cell.recipe), {})
        place.setdefault(cell.method, []).append((key, cell))
    found = []
    for (dataset, group, recipe), methods in declared.items():
        ran = {
            method: {cell.seed: results[key] for key, cell in entries if key in results}
            for method, entries in methods.items()
        }
        baseline = {s: r.target.last.top1 for s, r in ran.get(BASELINE, {}).items()}
        rows = tuple(
            _method_row(method, len(entries), ran[method], baseline)
            for method, entries in methods.items()
        )
        found.append(Comparison(dataset, group, recipe, rows))
    return found


def method_rows(table: Sequence[Comparison]) -> pd.DataFrame:
    """One row per comparison and method; the target's last epoch, accuracies in percent."""
    rows = []
    for comparison in table:
        for row in comparison.rows:
            target, against = row.target, row.against_baseline
            rows.append(
                {
                    "dataset": comparison.dataset,
                    "group": comparison.group,
                    "recipe": comparison.recipe,
                    "method": row.method,
                    "declared": row.declared,
                    "n": target.n if target else 0,
                    "mean": target and target.mean,
                    "sd": target and target.sd,
                    "low": target and target.low,
                    "high": target and target.high,
                    "against_ce": against and against.mean,
                    "against_ce_low": against and against.low,
                    "against_ce_high": against and against.high,
                }
            )
    return pd.DataFrame(rows).round(4)


def _method_row(
    method: str, declared: int, ran: Mapping[int, Result], baseline: dict[int, float]
) -> MethodRow:
    last = {seed: result.target.last.top1 for seed, result in ran.items()}
    best = [result.target.best.top1 for result in ran.values()]
    return MethodRow(
        method=method,
        declared=declared,
        results=ran,
        target=summarise(list(last.values())) if last else None,
        best=summarise(best) if best else None,
        against_baseline=None if method == BASELINE else paired_difference(last, baseline),
        mixed=len({result.row for result in ran.values()}) > 1,
    )
