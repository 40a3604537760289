"""``evaluate``: a trained cell on the test split. The only reader of that split."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from orc_repro.cells import Cell, Study
from orc_repro.config import Group, architecture_of
from orc_repro.data.manifest import Manifest
from orc_repro.data.split import Split
from orc_repro.errors import UserError
from orc_repro.files import remove_partials, write_json
from orc_repro.fingerprint import file_digest
from orc_repro.progress import Work
from orc_repro.project import WEIGHTS, evaluated, trained
from orc_repro.report.results import History, NetworkResult, Result, Score, finite
from orc_repro.stages.run import manifest_of, open_split
from orc_repro.stages.train import weights_digest
from orc_repro.training.device import pick_device, set_up
from orc_repro.training.evaluate import Evaluation, evaluate
from orc_repro.training.networks import build_network, count_parameters, load_weights
from orc_repro.validation import read_json


def evaluate_cell(study: Study, key: str, device: str = "auto") -> Result:
    """Evaluate every network of a cell; writes ``results/evaluated/<key>.json``."""
    cell = study.cell(key)
    group, recipe, _ = study.parts(cell)
    place = pick_device(device)
    set_up(recipe)
    manifest = manifest_of(cell.dataset)
    history = _history(study.name, key)
    images = open_split(study.params, cell.dataset, "test", manifest, recipe, place)
    looks = 2 * len(history.best) + (_pivot_weights(cell, group) is not None)
    with Work(key, looks * len(images), "images") as work:
        test = TestSplit(images, manifest, place, work)
        result = _result(key, cell, group, history, test)
    path = evaluated(study.name) / f"{key}.json"
    remove_partials(path.parent, path.name)
    write_json(path, result.model_dump(mode="json"))
    return result


def _result(key: str, cell: Cell, group: Group, history: History, test: TestSplit) -> Result:
    epochs, before = len(history.epochs), _pivot_weights(cell, group)
    pivot = None if group.pivot is None or before is None else test(group.pivot, before)
    return Result(
        cell=key,
        row=history.row,
        fingerprint=history.fingerprint,
        weights_digest=weights_digest(WEIGHTS / key),
        dataset=cell.dataset,
        group=cell.group,
        method=cell.method,
        recipe=cell.recipe,
        seed=cell.seed,
        epochs=epochs,
        training_images=history.training_images,
        target_name=group.target,
        networks={
            name: _network_result(key, name, role_of(name, cell, group), test, best.epoch, epochs)
            for name, best in history.best.items()
        },
        pivot_before=None if pivot is None else pivot.top1,
        pivot_before_class_top1=None if pivot is None else pivot.class_top1,
        elected=history.elected,
        role_changes=history.role_changes,
        not_finite=history.not_finite,
    )


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


class TestSplit:
    """The test split. The same weights are evaluated once: a frozen teacher's are three times the
    same, and the last epoch is often the best.
    """

    def __init__(self, images: Split, manifest: Manifest, device: torch.device, work: Work) -> None:
        self._images, self._manifest, self._device, self._work = images, manifest, device, work
        self._seen: dict[tuple[str, str], Evaluation] = {}

    def network(self, name: str) -> nn.Module:
        """A network to load weights into."""
        return build_network(name, self._manifest, 0, self._device)

    def __call__(self, name: str, weights: Path) -> Evaluation:
        """A network with the weights of a file.

        Raises:
            UserError: the file is missing, damaged, or another network's.
        """
        network = self.network(name)
        load_weights(network, weights)
        key = architecture_of(name), file_digest(weights)
        if key not in self._seen:
            self._seen[key] = evaluate(network, self._images, self._manifest.num_classes)
        self._work.done(len(self._images))
        return self._seen[key]


def _network_result(
    key: str, name: str, role: str, test: TestSplit, best_epoch: int, epochs: int
) -> NetworkResult:
    scores = {}
    for which, epoch in (("last", epochs - 1), ("best", best_epoch)):
        seen = test(name, WEIGHTS / key / which / f"{name}.safetensors")
        scores[which] = Score(
            epoch=epoch,
            top1=seen.top1,
            top5=seen.top5,
            loss=finite(seen.loss),
            class_top1=seen.class_top1,
        )
    return NetworkResult(role=role, parameters=count_parameters(test.network(name)), **scores)


def _pivot_weights(cell: Cell, group: Group) -> Path | None:
    """What the pivot began with, if there is one that was trained before."""
    if group.pivot is None or group.pivot not in cell.teachers:
        return None
    return Path(cell.teachers[group.pivot])
