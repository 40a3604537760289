"""End figures: the test results of a run, and its row's mean over seeds, as MLflow shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orc_repro.project import evaluated
from orc_repro.report.results import Result, read_result, read_results
from orc_repro.report.statistics import Summary, summarise
from orc_repro.tracking.description import Description
from orc_repro.tracking.notes import NOTE, row_note, run_note
from orc_repro.tracking.outcome import Outcome
from orc_repro.tracking.places import Place, places_of, top1_accuracy

if TYPE_CHECKING:
    from orc_repro.tracking.delivery import Delivery


def send_finals(delivery: Delivery, ended: Outcome) -> None:
    """Send a cell's evaluation, if there is one of exactly this run's weights, and the notes.

    The run gets ``final/*`` at its last epoch, its parent ``agg/*`` over the seeds evaluated so
    far (see :func:`row_metrics`). Both get a note and tags to filter by.
    """
    from mlflow.entities import Metric

    about = delivery.description
    result = _result_of(about, ended)
    places = places_of(about)
    table = ", ".join(place.study for place in places)
    top1 = result.target.last.top1 if result else None
    delivery.tag(delivery.run_id, {"table": table, NOTE: run_note(about, top1)})
    if result is not None:
        points = final_metrics(result)
        delivery.client.log_batch(
            delivery.run_id,
            metrics=[Metric(name, value, ended.ended_ms, about.epochs) for name, value in points],
        )
    if "trial" in about.tags:
        return  # its parent is the search
    seeds = [r for r in read_results(evaluated(about.study)) if r.row == about.row]
    summary = summarise([r.target.last.top1 for r in seeds]) if seeds else None
    if result is not None and summary is not None:
        delivery.client.log_batch(
            delivery.parent_id,
            metrics=[
                Metric(name, value, ended.ended_ms, summary.n)
                for name, value in row_metrics(summary, places).items()
            ],
        )
    note = row_note(about, summary, [r.cell for r in seeds], places)
    status = row_status(len(seeds), places)
    delivery.tag(delivery.parent_id, {"table": table, "status": status, NOTE: note})


def _result_of(about: Description, ended: Outcome) -> Result | None:
    result = read_result(about.cell, evaluated(about.study))
    made = (about.fingerprint, ended.weights_digest)
    return result if result and (result.fingerprint, result.weights_digest) == made else None


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


def row_metrics(summary: Summary, places: list[Place]) -> dict[str, float]:
    """A row's figures, accuracies in percent.

    ``agg/top1_mean``, ``agg/top1_sd`` (ddof 1), ``agg/top1_ci95_lo`` and ``_hi`` (Student's t),
    ``agg/n_seeds``; and where a number was published, ``paper/top1`` (the first one's that is not
    doubted) and ``agg/delta``, measured minus published.
    """
    quoted = [top1_accuracy(cell) for place in places for cell in place.quoted]
    published = next((value for value in quoted if value is not None), None)
    figures = {
        "agg/top1_mean": summary.mean,
        "agg/top1_sd": summary.sd,
        "agg/top1_ci95_lo": summary.low,
        "agg/top1_ci95_hi": summary.high,
        "agg/n_seeds": float(summary.n),
        "paper/top1": published,
        "agg/delta": None if published is None else summary.mean - published,
    }
    return {name: value for name, value in figures.items() if value is not None}


def row_status(seeds: int, places: list[Place]) -> str:
    """``complete`` with every seed that a study declares, ``incomplete``, or ``not measured``."""
    if not seeds:
        return "not measured"
    return "complete" if seeds >= max((p.seeds for p in places), default=0) else "incomplete"
