"""End figures: the test results of a run, and its row's mean over seeds, as MLflow shows them."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from orc_repro.fingerprint import digest
from orc_repro.project import evaluated
from orc_repro.report.results import Result, read_result, read_results
from orc_repro.report.statistics import Summary, summarise
from orc_repro.tracking.description import Description
from orc_repro.tracking.notes import NOTE, row_note, run_note
from orc_repro.tracking.outcome import Outcome
from orc_repro.tracking.places import Place, places_of, top1_accuracy

if TYPE_CHECKING:
    from orc_repro.tracking.delivery import Delivery

SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class Finals:
    """What MLflow shows of a run's evaluation, and of its row: names, and values or tags.

    A search's trial has no row of its own, and so neither tags nor figures of one.
    """

    tags: dict[str, str]
    figures: list[tuple[str, float]]
    row_tags: dict[str, str]
    row_figures: dict[str, float]
    seeds: int

    @property
    def digest(self) -> str:
        """Of all of it, to be compared with what was sent."""
        return digest(asdict(self))


def finals_of(about: Description, ended: Outcome) -> Finals:
    """What to send of a cell, with its evaluation if there is one of exactly this run's weights.

    The run gets ``final/*`` at its last epoch, its parent ``agg/*`` over the seeds evaluated so
    far (see :func:`row_metrics`). Both get a note and tags to filter by.
    """
    result = _result_of(about, ended)
    places = places_of(about)
    table = ", ".join(place.study for place in places)
    tags = {"table": table, NOTE: run_note(about, result.target.last.top1 if result else None)}
    figures = final_metrics(result) if result is not None else []
    if "trial" in about.tags:
        return Finals(tags, figures, {}, {}, 0)  # its parent is the search
    seeds = [r for r in _results_in(evaluated(about.study)) if r.row == about.row]
    summary = summarise([r.target.last.top1 for r in seeds]) if seeds else None
    row_tags = {
        "table": table,
        "status": row_status(len(seeds), places),
        NOTE: row_note(about, summary, [r.cell for r in seeds], places),
    }
    of_row = row_metrics(summary, places) if result is not None and summary is not None else {}
    return Finals(tags, figures, row_tags, of_row, len(seeds))


def send_finals(delivery: Delivery, finals: Finals, ended: Outcome) -> None:
    """Send a run's, and its row's."""
    from mlflow.entities import Metric

    client, when, epochs = delivery.client, ended.ended_ms, delivery.description.epochs
    delivery.tag(delivery.run_id, finals.tags)
    if finals.figures:
        points = [Metric(name, value, when, epochs) for name, value in finals.figures]
        client.log_batch(delivery.run_id, metrics=points)
    if finals.row_figures:
        points = [Metric(k, value, when, finals.seeds) for k, value in finals.row_figures.items()]
        client.log_batch(delivery.parent_id, metrics=points)
    if finals.row_tags:
        delivery.tag(delivery.parent_id, finals.row_tags)


def _results_in(folder: Path) -> list[Result]:
    """Every result of a folder; read again when one was written, as each is renamed into place.

    A command delivers many runs of one pool, whose results are thousands of files.
    """
    place = folder.resolve()
    if not place.is_dir():
        return []
    changed = place.stat().st_mtime_ns
    if time.time_ns() - changed <= SETTLED_NS:  # another change may have the same stamp
        return read_results(place)
    return _results_as_of(place, changed)


@lru_cache(maxsize=8)
def _results_as_of(place: Path, _: int) -> list[Result]:
    return read_results(place)


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
    ``agg/n_seeds``; and where a number was published by the protocol of the row, ``paper/top1``
    (the first such) and ``agg/delta``, measured minus published.
    """
    quoted = [top1_accuracy(c) for place in places if place.as_published for c in place.quoted]
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
