"""``queue --list``: the order, what each cell costs, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence

from orc_repro.cells import Study
from orc_repro.config import CifarData
from orc_repro.queue.claims import is_claimed
from orc_repro.queue.cost import CIFAR, CIFAR_IMAGES, flop_of_training, in_words
from orc_repro.queue.order import Entry
from orc_repro.queue.standing import epochs_begun, is_busy, is_measured, manifest_if_prepared
from orc_repro.queue.work import Studies
from orc_repro.stages.jobs import jobs_of_cells


def lines(entries: Sequence[Entry]) -> list[str]:
    """A line for each cell, in the order they are worked off, and a sum."""
    studies, addresses = Studies(), dict[tuple[str, str], str]()
    for owner in {entry.owner for entry in entries}:
        for job in jobs_of_cells(owner):
            addresses[owner.as_posix(), job.stage] = job.address
    printed, left, unknown = [], 0.0, 0
    for number, entry in enumerate(entries, start=1):
        study = studies[entry.owner]
        state = _state(study, entry.key, addresses[entry.owner.as_posix(), f"train@{entry.key}"])
        cost = _cost(study, entry)
        if state != "measured":
            left, unknown = left + (cost or 0.0), unknown + (cost is None)
        shown = "?" if cost is None else in_words(cost)
        printed.append(f"{number:4}  {shown:>10}  {state:24}  {entry.study:28}  {entry.key}")
    head = f"{'':4}  {'cost':>10}  {'state':24}  {'study':28}  cell"
    rest = f", and {unknown} cells whose data is not prepared" if unknown else ""
    return [head, *printed, f"left: {in_words(left)} of training{rest}; teachers come on top"]


def _state(study: Study, key: str, address: str) -> str:
    if is_measured(study, key):
        return "measured"
    epochs = epochs_begun(study, key)
    begun = "" if epochs is None else f"begun, epoch {epochs + 1}"
    if is_busy(study, "train", key) or is_claimed(address):
        return f"running{begun.removeprefix('begun')}"
    return begun or "waiting"


def _cost(study: Study, entry: Entry) -> float | None:
    group, recipe, method = study.parts(entry.cell)
    data = study.params.data[entry.cell.dataset]
    manifest = manifest_if_prepared(study, entry.cell.dataset)
    if manifest is not None:
        shape, images = tuple(manifest.image_shape), manifest.count("train")
    elif isinstance(data, CifarData):
        shape, images = CIFAR, round(CIFAR_IMAGES * (1 - data.validation_fraction))
    else:
        return None
    return flop_of_training(method, group, recipe.epochs, shape, images)
