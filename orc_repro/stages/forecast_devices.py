"""``train --plan --devices``: what a cell would take on many devices like this machine's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from orc_repro.cells import Study
from orc_repro.data.split import Split
from orc_repro.scaling.arithmetic import Prediction, Workload, predict, problem_of, sent_bytes
from orc_repro.scaling.assumptions import Assumed
from orc_repro.scaling.simulation import lognormal_parts, slowdown
from orc_repro.stages.forecast import Forecast, forecast_of, opened
from orc_repro.stages.forecast_constants import Stated, state

HEAD = (
    f"{'devices':>7} {'batch':>7} {'each':>5} {'arithmetic':>11} {'loader':>9} {'network':>9}"
    f" {'waiting':>8} {'images/s':>9}  {'bound by':10} {'hours':>9} {'GB each':>8}"
)


@dataclass(frozen=True)
class Wishes:
    """What to plan for.

    Attributes:
        devices: numbers of them.
        batch_per_device: the global batch is so many for each; None for the recipe's, divided.
        images: of an epoch; None for those of the prepared set. Validation grows with it.
        assumed: constants that are not measured.
    """

    devices: tuple[int, ...]
    batch_per_device: int | None = None
    images: int | None = None
    assumed: Assumed = field(default_factory=Assumed)


def forecast_devices(study: Study, key: str, wishes: Wishes, device: str = "auto") -> list[str]:
    """Lines of a plan; nothing is written.

    Raises:
        UserError: as ``forecast``; or the network cannot be measured here.
    """
    manifest, train, validation = opened(study, key, device)
    return lines_of(forecast_of(study, key, manifest, train, validation), train, wishes)


def lines_of(found: Forecast, train: Split, wishes: Wishes) -> list[str]:
    """A forecast for one device, the constants, and the plan for many."""
    stated = state(found, train, wishes.assumed, max(wishes.devices))
    return [*found.lines(), "", *stated.lines, "", *plan_lines(found, stated, wishes)]


def plan_lines(found: Forecast, stated: Stated, wishes: Wishes) -> list[str]:
    """The table, and what has to be said of it."""
    work = workload_of(found, wishes.images or found.train_images)
    rows, refused = [], []
    for devices in wishes.devices:
        per_device = wishes.batch_per_device
        batch = found.batch_size if per_device is None else per_device * devices
        problem = problem_of(batch, devices, work.train_images)
        if problem:
            refused.append(problem)
            continue
        waiting = waiting_of(devices, len(work.collectives), stated.jitter)
        rows.append(predict(replace(work, batch_size=batch), stated.constants, devices, waiting))
    notes = [*refused, *_other_recipes(found, rows)]
    if rows and rows[-1].devices > 1:
        notes += _traffic(found, work, stated, rows[-1].devices)
    return [HEAD, *map(_row, rows), *([""] if notes else []), *notes]


def workload_of(found: Forecast, images: int) -> Workload:
    """A forecast's workload with so many training images, and as many more for validation."""
    more = images / found.train_images
    ballot = (found.ballot,) if found.ballot else ()
    return Workload(
        batch_size=found.batch_size,
        train_images=images,
        validation_images=round(found.validation_images * more),
        epochs=found.epochs,
        collectives=(*ballot, *found.updates),
        cost=found.cost,
        data_bytes=round(found.data_bytes * more),
    )


def waiting_of(devices: int, meetings: int, jitter: float) -> float:
    """How much longer computing takes where so many devices meet so often in an iteration."""
    return slowdown(devices, meetings, lognormal_parts(jitter, meetings))


def _row(made: Prediction) -> str:
    return (
        f"{made.devices:>7,} {made.batch_size:>7,} {made.batch_size // made.devices:>5,}"
        f" {_brief(made.arithmetic):>11} {_brief(made.loader):>9} {_brief(made.network):>9}"
        f" {made.waiting:>8.3f} {_brief(made.rate):>9}  {made.bound:10} {_brief(made.hours):>9}"
        f" {made.memory_bytes / 1e9:>8.2f}"
    )


def _brief(value: float) -> str:
    if math.isinf(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _other_recipes(found: Forecast, rows: Iterable[Prediction]) -> list[str]:
    others = [f"{row.batch_size:,}" for row in rows if row.batch_size != found.batch_size]
    if not others:
        return []
    return [
        f"with batches of {', '.join(others)} instead of {found.batch_size:,} the learning rate and"
        " its warm-up have to be found anew: another recipe, and another result"
    ]


def _traffic(found: Forecast, work: Workload, stated: Stated, devices: int) -> list[str]:
    """Election traffic beside gradients, and waiting beside a method that meets once."""
    whole, meetings = sum(work.collectives), len(work.collectives)
    election = f", {found.ballot:,} bytes of it an election" if found.ballot else ""
    lines = [
        f"an iteration averages {whole / 1e6:,.1f} MB in {meetings} all-reduces{election}; each of"
        f" {devices:,} devices sends {sent_bytes(whole, devices) / 1e6:,.1f} MB"
    ]
    if meetings > 1:
        once = waiting_of(devices, 1, stated.jitter)
        often = waiting_of(devices, meetings, stated.jitter)
        lines.append(
            f"meeting {meetings} times in an iteration instead of once, {devices:,} devices compute"
            f" and wait {100 * (often / once - 1):,.1f} % longer (simulated)"
        )
    return lines
