"""``evaluate``: a trained cell on the test split. The only reader of that split."""

from __future__ import annotations

from pathlib import Path

import torch

from orc_repro.cells import Cell, Study
from orc_repro.config import Group, Recipe
from orc_repro.data.batches import ResidentImages
from orc_repro.data.manifest import Manifest
from orc_repro.errors import UserError
from orc_repro.files import remove_partials, write_json
from orc_repro.project import WEIGHTS, evaluated, trained
from orc_repro.report.results import History, NetworkResult, Result, Score, finite
from orc_repro.stages.run import manifest_of, resident
from orc_repro.stages.train import weights_digest
from orc_repro.training.device import pick_device, set_up
from orc_repro.training.evaluate import evaluate
from orc_repro.training.networks import build_network, count_parameters, load_weights
from orc_repro.validation import read_json


def evaluate_cell(study: Study, key: str, device: str = "auto") -> Result:
    """Evaluate every network of a cell; writes ``results/evaluated/<key>.json``."""
    cell = study.cell(key)
    group, recipe, _ = study.parts(cell)
    place = pick_device(device)
    set_up(recipe)
    manifest = manifest_of(cell.dataset)
    test = resident(cell.dataset, "test", manifest, recipe, place)
    history = _history(study.name, key)
    result = Result(
        cell=key,
        row=history.row,
        fingerprint=history.fingerprint,
        weights_digest=weights_digest(WEIGHTS / key),
        dataset=cell.dataset,
        group=cell.group,
        method=cell.method,
        recipe=cell.recipe,
        seed=cell.seed,
        epochs=len(history.epochs),
        training_images=history.training_images,
        target_name=group.target,
        networks={
            name: _network_result(
                key, name, role_of(name, cell, group), test, manifest, best.epoch, recipe, place
            )
            for name, best in history.best.items()
        },
        pivot_before=_pivot_before(cell, group, test, manifest, place),
        elected=history.elected,
        role_changes=history.role_changes,
        not_finite=history.not_finite,
    )
    path = evaluated(study.name) / f"{key}.json"
    remove_partials(path.parent, path.name)
    write_json(path, result.model_dump(mode="json"))
    return result


def role_of(name: str, cell: Cell, group: Group) -> str:
    """``pivot``, ``assistant``, ``target`` or ``student``."""
    if name in cell.teachers:
        return "pivot" if name == group.pivot else "assistant"
    return "target" if name == group.target else "student"


def _history(study: str, key: str) -> History:
    path = trained(study) / f"{key}.json"
    if not path.exists():
        raise UserError(f"{path} does not exist; train the cell first")
    return read_json(History, path)


def _network_result(
    key: str,
    name: str,
    role: str,
    test: ResidentImages,
    manifest: Manifest,
    best_epoch: int,
    recipe: Recipe,
    device: torch.device,
) -> NetworkResult:
    network = build_network(name, manifest, 0, device)
    scores = {}
    for which, epoch in (("last", recipe.epochs - 1), ("best", best_epoch)):
        load_weights(network, WEIGHTS / key / which / f"{name}.safetensors")
        seen = evaluate(network, test, manifest.num_classes)
        scores[which] = Score(
            epoch=epoch,
            top1=seen.top1,
            top5=seen.top5,
            loss=finite(seen.loss),
            class_top1=seen.class_top1,
        )
    return NetworkResult(role=role, parameters=count_parameters(network), **scores)


def _pivot_before(
    cell: Cell, group: Group, test: ResidentImages, manifest: Manifest, device: torch.device
) -> float | None:
    if group.pivot is None or group.pivot not in cell.teachers:
        return None
    network = build_network(group.pivot, manifest, 0, device)
    load_weights(network, Path(cell.teachers[group.pivot]))
    return evaluate(network, test, manifest.num_classes).top1
