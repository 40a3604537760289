"""One trial: the same loop as ``train``, looked at after each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from orc_repro.config import Params, Recipe
from orc_repro.cost import step_cost
from orc_repro.distill import METHODS, Method, build_method
from orc_repro.errors import NotWorthwhile, UserError
from orc_repro.files import write_json
from orc_repro.fingerprint import digest
from orc_repro.processes.joining import make_current
from orc_repro.project import scratch
from orc_repro.rehearsal import Rehearsal, noise_images
from orc_repro.report.results import History
from orc_repro.search.declaration import Search
from orc_repro.search.foundation import teachers_of
from orc_repro.search.space import Unfit, Variant
from orc_repro.stages.identity import Identity
from orc_repro.stages.place import take_place
from orc_repro.stages.run import Run, manifest_of
from orc_repro.stages.train import digest_of, history_of, load_teachers
from orc_repro.tracking.description import Description
from orc_repro.tracking.records import metrics_log
from orc_repro.tracking.runlog import Mark, RunLog
from orc_repro.training.networks import build_networks
from orc_repro.validation import read_json

Judge = Callable[[int, float], str | None]
"""Told the epoch and the target's validation accuracy; a sentence if the run is to end."""
JUDGED = "val/top1"


def last_accuracy(history: History) -> float:
    """The target's validation accuracy after the last epoch, in percent."""
    last = history.epochs[-1][JUDGED]
    assert last is not None
    return last


@dataclass(frozen=True)
class TrialIdentity(Identity):
    """A run of a search: a child of the search's own MLflow run.

    ``label`` is how people call it; it is no part of the fingerprint, so a configuration that is
    suggested twice is trained once.
    """

    label: str = ""
    title: str = ""

    def description(self, device: Any) -> Description:
        """The base's, below one parent for the whole search."""
        about = super().description(device)
        return about.model_copy(
            update={
                "row": digest({"search": self.experiment})[:32],
                "row_name": self.title,
                "run_name": f"{self.label} · seed {self.seed}",
                "tags": about.tags | {"trial": self.label},
            }
        )


class JudgedLog(RunLog):
    """A log that asks after each epoch whether the run is still worth its time."""

    def __init__(self, folder: Path, judge: Judge, pivot: str | None = None) -> None:
        super().__init__(folder)
        self._judge, self._pivot = judge, pivot

    def resume(self, marks: Mapping[str, Mark]) -> None:
        """Tell the judge of the epochs that were made before, without asking."""
        super().resume(marks)
        for record in metrics_log(self.folder).all():
            self._judge(record.epoch, record.values[JUDGED])

    def metrics(self, epoch: int, values: Mapping[str, float]) -> None:
        """Record an epoch's metrics.

        Raises:
            NotWorthwhile: the judge has seen enough, or the target's or the pivot's loss is no
                longer a number: training would end in an error.
        """
        super().metrics(epoch, values)
        # A diverged run is not judged: its accuracy would count as a value of the search.
        verdict = self._divergence(values) or self._judge(epoch, values[JUDGED])
        if verdict is not None:
            self.flush()
            raise NotWorthwhile(f"{verdict}, after epoch {epoch + 1}")

    def _divergence(self, values: Mapping[str, float]) -> str | None:
        losses = {
            "the target's loss": "train/loss",
            "the target's validation loss": "val/loss",
            "the pivot's loss": f"{self._pivot}/loss",
        }
        for name, key in losses.items():
            if not math.isfinite(values.get(key, 0.0)):
                return f"{name} is no longer finite"
        return None


def identify(
    search: Search, name: str, found: Variant, seed: int, label: str
) -> tuple[TrialIdentity, dict[str, str]]:
    """Who one seed of a trial is, and the path of each of its teachers' weights.

    Raises:
        Unfit: the method starts from other networks than the pivot.
    """
    teachers = teachers_of(search, found)
    identity = TrialIdentity(
        study=name,
        key=f"{name}-s{seed}",
        experiment=f"orc/search/{name}",
        dataset=search.base.dataset,
        group_name=search.base.group,
        group=found.group,
        recipe_name=search.base.recipe,
        recipe=found.recipe,
        method_name=search.base.method,
        method=found.method,
        seed=seed,
        manifest=manifest_of(search.base.dataset),
        starts_from=digest_of(teachers),
        label=label,
        title=search.title,
    )
    return identity, teachers


def run_seed(
    identity: TrialIdentity,
    teachers: Mapping[str, str],
    params: Params,
    judge: Judge,
    device: str = "auto",
) -> History:
    """Train one seed of a trial, or read what was trained before.

    Raises:
        NotWorthwhile: the judge ended it.
        Unfit: the method cannot have these networks, or this recipe.
        UserError: data or the pivot's weights are missing, or the run cannot go on.
        Interrupted: a stop was requested; what was done is saved.
    """
    place = take_place(device, identity.recipe)
    make_current(place)
    summary = scratch() / "search" / identity.study / "runs" / f"{identity.fingerprint}.json"
    summary.parent.mkdir(parents=True, exist_ok=True)
    # Another worker may have been given the same values: it is waited for, and its result read.
    with FileLock(summary.with_suffix(".lock")), Run(identity, place, params) as run:
        if run.is_finished(summary):
            run.settle()
            return read_json(History, summary)
        method = _built(identity, identity.recipe, teachers, place)
        group = identity.group
        done = run.train(method, group.target, lambda at: JudgedLog(at, judge, group.pivot))
        history = history_of(identity, done)
        write_json(summary, history.model_dump(mode="json"))
        run.finish({"training/history.json": summary}, "", [summary], done)
    return history


def flop_per_image(identity: TrialIdentity) -> float:
    """Arithmetic of an iteration, counted on two small batches of noise."""
    manifest, cpu = identity.manifest, torch.device("cpu")

    def step(batch_size: int) -> Rehearsal:
        noise = noise_images(2 * batch_size, manifest.image_shape, manifest.num_classes, cpu)
        steps = Rehearsal(_built(identity, identity.recipe.as_written, {}, cpu), noise, batch_size)
        steps.method.train()
        steps()
        return steps

    return step_cost(step, fixed_bytes=0, pieces=identity.recipe.pieces).flop_per_image


def _built(
    identity: TrialIdentity, recipe: Recipe, teachers: Mapping[str, str], device: torch.device
) -> Method:
    names = METHODS[identity.method.kind].networks_of(identity.group, identity.method)
    networks = build_networks(names, identity.manifest, identity.seed, device)
    load_teachers(networks, teachers)
    try:
        return build_method(identity.method, identity.group, networks, recipe)
    except UserError as error:
        raise Unfit(str(error)) from None
