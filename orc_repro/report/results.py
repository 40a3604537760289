"""One cell's result as a file: deterministic, small, in git.

No run id, time, duration or host is in it, so that the same result is the same bytes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Self

from pydantic import model_validator

from orc_repro.errors import UserError
from orc_repro.ranges import Count, Epoch, Epochs, Images, Measured, Percent, Processes, Seed
from orc_repro.validation import Strict, read_json

VALIDATION_TOP1 = "val/top1"
"""The target's accuracy on the validation images, in percent."""


def finite(value: float) -> float | None:
    """The value, or None where it is not finite: JSON has no NaN, and None says it aloud."""
    return value if math.isfinite(value) else None


class BestEpoch(Strict):
    """The first epoch with a network's highest validation accuracy; counts from 0."""

    epoch: Epoch
    validation_top1: Percent


class History(Strict):
    """``results/<study>/trained/<cell>.json``: what training saw, epoch by epoch.

    ``training_images`` is how many images it learned from; those held out are not among them.
    ``epochs`` has one mapping of metric names to values an epoch, ``VALIDATION_TOP1`` among them;
    None is a value that was not finite. ``processes``: how many trained it together; several
    numbers where that changed under way. ``weights_digest`` is that of the weights after training,
    which lie outside git; None where none were kept, and in files of earlier versions. The rest as
    in :class:`Result`.
    """

    cell: str
    row: str
    fingerprint: str
    training_images: Images
    epochs: tuple[dict[str, Measured | None], ...]
    best: dict[str, BestEpoch]
    elected: dict[str, Count]
    role_changes: Count
    not_finite: tuple[str, ...]
    processes: tuple[Processes, ...] = (1,)
    weights_digest: str | None = None

    @model_validator(mode="after")
    def _validated(self) -> Self:
        if any(VALIDATION_TOP1 not in epoch for epoch in self.epochs):
            raise ValueError(f"an epoch has no {VALIDATION_TOP1}")
        return self


class Score(Strict):
    """A network on the test split; accuracies in percent; ``epoch`` counts from 0.

    ``loss`` is None where it is not finite.
    """

    epoch: Epoch
    top1: Percent
    top5: Percent | None
    loss: Measured | None
    class_top1: tuple[Percent, ...]


class NetworkResult(Strict):
    """``last``: after the last epoch. ``best``: of the best validation epoch's weights."""

    role: str
    parameters: Count
    last: Score
    best: Score


class Result(Strict):
    """``results/<study>/evaluated/<cell>.json``.

    ``fingerprint`` says what the run was made from, ``weights_digest`` which weights came out
    (unless the recipe is exact, another machine may round differently). ``pivot_before`` is the
    pivot's test accuracy before the run, ``pivot_before_class_top1`` that of each class (None also
    in what an earlier version wrote), ``elected`` how often each student was temporary teacher,
    ``role_changes`` how often that changed, ``not_finite`` which losses went NaN and when.
    """

    cell: str
    row: str
    fingerprint: str
    weights_digest: str
    dataset: str
    group: str
    method: str
    recipe: str
    seed: Seed
    epochs: Epochs
    training_images: Images
    target_name: str
    networks: dict[str, NetworkResult]
    pivot_before: Percent | None
    pivot_before_class_top1: tuple[Percent, ...] | None = None
    elected: dict[str, Count]
    role_changes: Count
    not_finite: tuple[str, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.target_name not in self.networks:
            raise ValueError(f"networks has no target '{self.target_name}'")
        by_class = [n.class_top1 for net in self.networks.values() for n in (net.last, net.best)]
        by_class += [self.pivot_before_class_top1] if self.pivot_before_class_top1 else []
        if len({len(accuracies) for accuracies in by_class}) > 1:
            raise ValueError("the networks have several numbers of classes")
        return self

    @property
    def target(self) -> NetworkResult:
        """The reported network."""
        return self.networks[self.target_name]

    @property
    def classes(self) -> int:
        """How many classes have an accuracy of their own."""
        return len(self.target.last.class_top1)


def read_result(cell: str, folder: Path) -> Result | None:
    """A cell's result, or None if it has not been evaluated."""
    path = folder / f"{cell}.json"
    return read_json(Result, path) if path.exists() else None


def read_history(result: Result, folder: Path) -> History:
    """Read the training history of the run that a result is of.

    Args:
        result: a cell's result.
        folder: where histories of the cell's study lie.

    Raises:
        UserError: the history is missing or damaged, or is another run's.
    """
    path = folder / f"{result.cell}.json"
    history = read_json(History, path)
    if not history.epochs:
        raise UserError(f"{path} has no epoch; `orc-repro train {result.cell}` writes it again")
    if history.fingerprint != result.fingerprint:
        raise UserError(
            f"{path} and the result of {result.cell} are of two runs; `orc-repro evaluate"
            f" {result.cell}` evaluates the run that was trained last"
        )
    return history


def read_results(folder: Path) -> list[Result]:
    """Every result, by cell key."""
    return [read_json(Result, path) for path in sorted(folder.glob("*.json"))]
