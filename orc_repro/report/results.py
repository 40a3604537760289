"""One cell's result as a file: deterministic, small, in git.

No run id, time, duration or host is in it, so that the same result is the same bytes.
"""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import model_validator

from orc_repro.ranges import Count, Epoch, Epochs, Images, Measured, Percent, Processes, Seed
from orc_repro.validation import Strict, read_json


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
    ``epochs`` has one mapping of metric names to values an epoch; None is a value that was not
    finite. ``processes``: how many trained it together; several numbers where that changed under
    way. The rest as in :class:`Result`.
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
    def _target_is_a_network(self) -> Result:
        if self.target_name not in self.networks:
            raise ValueError(f"networks has no target '{self.target_name}'")
        return self

    @property
    def target(self) -> NetworkResult:
        """The reported network."""
        return self.networks[self.target_name]


def read_result(cell: str, folder: Path) -> Result | None:
    """A cell's result, or None if it has not been evaluated."""
    path = folder / f"{cell}.json"
    return read_json(Result, path) if path.exists() else None


def read_results(folder: Path) -> list[Result]:
    """Every result, by cell key."""
    return [read_json(Result, path) for path in sorted(folder.glob("*.json"))]
