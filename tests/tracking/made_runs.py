"""Runs that were never trained, made and delivered by the project's own tracking code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch

from orc_repro.config import Params, Tracking, load_params
from orc_repro.data.manifest import Manifest
from orc_repro.distill.roles import RoleChange
from orc_repro.files import write_json
from orc_repro.interruption import Interruption
from orc_repro.project import evaluated, run_folder
from orc_repro.report.results import NetworkResult, Result, Score
from orc_repro.stages.identity import Identity
from orc_repro.tracking.runlog import RunLog, commit_all
from orc_repro.tracking.tracker import Tracker
from tests.data.made import make_source, write
from tests.project import ROOT

SETTINGS = Tracking(enabled=True, role_changes="all")
STUDY, WEIGHTS = "table02_cifar100", "w" * 64
PARAMS: Params = load_params(ROOT / "params.yaml")


def manifest(folder: Path) -> Manifest:
    """Of three classes, 20 images each, a tenth of them held out."""
    return write(make_source(), folder)


def identity(
    found: Manifest, method: str = "orc", seed: int = 0, group: str = "r56-r20"
) -> Identity:
    """A run of the paper's second table."""
    key = f"cifar100-{group}-{method}-s{seed}"
    return Identity(
        study=STUDY,
        key=key,
        experiment="orc/cifar100",
        dataset="cifar100",
        group_name=group,
        group=PARAMS.groups[group],
        recipe_name="cifar100-crd",
        recipe=PARAMS.recipes["cifar100-crd"],
        method_name=method,
        method=PARAMS.methods[method],
        seed=seed,
        manifest=found,
        starts_from="random weights",
        command=f"orc-repro run {key} --study studies/{STUDY}",
        shown_in=f"orc/cifar100/cifar100-{group}",
    )


def curve(seed: int, epochs: int, height: float) -> Iterator[dict[str, float]]:
    """An accuracy that rises to a height; one seed is a little above another."""
    for epoch in range(epochs):
        top1 = height * (1 - math.exp(-(epoch + 1) / 4)) + 0.3 * seed
        yield {"train/loss": 4 * math.exp(-epoch / 5), "val/loss": 3.0, "val/top1": top1}


def make_run(
    who: Identity,
    *,
    epochs: int = 5,
    height: float = 70.0,
    changes: int = 3,
    settings: Tracking = SETTINGS,
) -> Path:
    """A finished run in the store; returns its folder."""
    folder = run_folder(who.fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    about = who.description(torch.device("cpu"))
    tracker = Tracker(folder, about, settings, resumed=False, stop=Interruption())
    students = who.group.students
    with closing(RunLog(folder)) as log:
        for i in range(changes):
            teacher = students[i % len(students)]
            log.role_change(RoleChange(0, i, (), (teacher,), (teacher,), {teacher: 0.5}))
        for epoch, values in enumerate(curve(who.seed, epochs, height)):
            log.metrics(epoch, values | {"cost/epoch_seconds": 1.0})
        log.flush()
    tracker.end("FINISHED", figures={"cost/seconds": float(epochs)}, weights_digest=WEIGHTS)
    commit_all(folder)
    assert tracker.deliver() is None
    return folder


def write_result(who: Identity, top1: float) -> Result:
    """The evaluation of a made run, where evaluations lie."""
    score = Score(epoch=4, top1=top1, top5=None, loss=0.5, class_top1=(top1,))
    network = NetworkResult(role="target", parameters=1000, last=score, best=score)
    result = Result(
        cell=who.key,
        row=who.row,
        fingerprint=who.fingerprint,
        weights_digest=WEIGHTS,
        dataset=who.dataset,
        group=who.group_name,
        method=who.method_name,
        recipe=who.recipe_name,
        seed=who.seed,
        epochs=5,
        training_images=54,
        target_name=who.group.target,
        networks={who.group.target: network},
        pivot_before=None,
        elected={},
        role_changes=3,
        not_finite=(),
    )
    path = evaluated(who.study) / f"{who.key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result.model_dump(mode="json"))
    return result
