"""End figures: the test results of a run, and its row's mean over seeds, as MLflow shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orc_repro.project import evaluated
from orc_repro.report.results import Result, read_result, read_results
from orc_repro.report.statistics import summarise
from orc_repro.tracking.outcome import Outcome

if TYPE_CHECKING:
    from orc_repro.tracking.delivery import Delivery


def send_finals(delivery: Delivery, ended: Outcome) -> None:
    """Send a cell's evaluation, if there is one of exactly this run's weights.

    The run gets ``final/*`` at its last epoch, its parent ``agg/*`` over the seeds evaluated so
    far (``agg/top1_mean``, ``agg/top1_sd`` with ddof 1, ``agg/top1_ci95_lo`` and ``_hi`` by
    Student's t, ``agg/n_seeds``).
    """
    from mlflow.entities import Metric

    about = delivery.description
    result = read_result(about.cell, evaluated(about.study))
    if result is None or (result.fingerprint, result.weights_digest) != (
        about.fingerprint,
        ended.weights_digest,
    ):
        return
    points = [
        Metric(name, value, ended.ended_ms, about.epochs) for name, value in final_metrics(result)
    ]
    delivery.client.log_batch(delivery.run_id, metrics=points)
    seeds = [r for r in read_results(evaluated(about.study)) if r.row == about.row]
    summary = summarise([r.target.last.top1 for r in seeds])
    figures: dict[str, Any] = {
        "top1_mean": summary.mean,
        "top1_sd": summary.sd,
        "top1_ci95_lo": summary.low,
        "top1_ci95_hi": summary.high,
        "n_seeds": float(summary.n),
    }
    delivery.client.log_batch(
        delivery.parent_id,
        metrics=[
            Metric(f"agg/{name}", value, ended.ended_ms, summary.n)
            for name, value in figures.items()
            if value is not None
        ],
    )


def final_metrics(result: Result) -> list[tuple[str, float]]:
    """``final/*`` of a run; the same names whatever the method."""
    target = result.target
    values = {
        "final/top1_last": target.last.top1,
        "final/top1_best_validation": target.best.top1,
        "final/loss_last": target.last.loss,
        "final/top5_last": target.last.top5,
        "final/parameters": float(target.parameters),
        "final/role_changes": float(result.role_changes),
    }
    values |= {
        f"final/{name}/top1_last": network.last.top1 for name, network in result.networks.items()
    }
    return [(name, value) for name, value in values.items() if value is not None]
