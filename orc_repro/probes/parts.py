"""Look at parts of the code: networks, prepared data, a recipe's settings, the evaluation."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from orc_repro._torchvision import import_torchvision
from orc_repro.cells import Study
from orc_repro.config import AnyMethod, FeatureConfig, OneConfig, OrcConfig, Params, Recipe
from orc_repro.data.photo_manifest import load_any_manifest
from orc_repro.distill.execution import Execution
from orc_repro.distill.feature import of_one_size, stage_ends
from orc_repro.distill.orc.feedback import draw_partners, feedback_probabilities
from orc_repro.distill.peers.one import last_stage_of, width_at
from orc_repro.distill.roles import Roles, elect
from orc_repro.files import write_json
from orc_repro.instructions import PORTABLE, is_portable
from orc_repro.models import build, names
from orc_repro.models.layers import Classifier
from orc_repro.project import PREPARED, WEIGHTS, evaluated, trained
from orc_repro.report.results import VALIDATION_TOP1, BestEpoch, History
from orc_repro.stages.place import take_place
from orc_repro.training.networks import build_network, save_weights

NAMES = ("cell", "row", "fingerprint", "dataset", "group", "method", "recipe", "weights_digest")
"""What a written result says of itself and not of what was computed."""
_WAVE = torch.cos(torch.arange(1013, dtype=torch.float64) * 0.7)


def summary(tensors: dict[str, Tensor]) -> list[float]:
    """Return three numbers that change with the values of tensors: two sums and a mixture."""
    total, squares, mixture = 0.0, 0.0, 0.0
    for number, tensor in enumerate(tensors.values()):
        flat = tensor.detach().double().flatten()
        total, squares = total + float(flat.sum()), squares + float(flat.square().sum())
        rows = F.pad(flat, (0, -len(flat) % len(_WAVE))).view(-1, len(_WAVE))
        mixture += (1 + number % 7) * float((rows @ _WAVE).sum())
    return [total, squares, mixture]


def summary_of_file(path: Path) -> Any:
    """Summarise a file of weights; the names and shapes count, too."""
    weights = load_file(path)
    form = [[name, list(tensor.shape)] for name, tensor in sorted(weights.items())]
    return [path.name.partition(".")[2], form, summary(dict(sorted(weights.items())))]


def network(name: str) -> Any:
    """Look at a network: its initial weights, its outputs, its gradients and its statistics."""
    torch.manual_seed(0)
    made = build(name, num_classes=10, in_channels=3)
    side = 64 if name in ("resnet18", "resnet34") else 32
    images = torch.sin(torch.arange(2 * 3 * side * side, dtype=torch.float64) * 0.37)
    images, labels = images.view(2, 3, side, side), torch.tensor([1, 8])
    initial = summary(made.state_dict())
    with torch.no_grad():
        evaluated_logits = made.eval()(images)
    loss = F.cross_entropy(made.train()(images), labels)
    torch.autograd.backward([loss])
    gradients = {k: p.grad for k, p in made.named_parameters() if p.grad is not None}
    return [
        [[key, list(value.shape)] for key, value in made.state_dict().items()],
        initial,
        evaluated_logits.flatten().tolist(),
        float(loss),
        summary(gradients),
        summary(dict(made.named_buffers())),
    ]


def prepared(params: Params, source: str) -> Any:
    """Look at what ``prepare`` makes of a source: the manifest, with the digest of each array."""
    from orc_repro.stages.prepare import prepare

    names = {
        "digits": ["digits"],
        "cifar": ["cifar10", "cifar100"],
        "folder": ["small"],
        "imagenet": ["folder", "shards"],
    }[source]
    manifests = []
    import_torchvision()
    with (
        patch("torchvision.datasets.CIFAR10", _reader(2)),
        patch("torchvision.datasets.CIFAR100", _reader(3)),
    ):
        for name in names:
            prepare(params, name)
            manifest = asdict(load_any_manifest(PREPARED / name))
            manifest.pop("version")  # of the library that digits come with
            manifests.append(manifest)
    return manifests


def _reader(classes: int) -> Any:
    """Make a stand-in for torchvision's readers of CIFAR, whose archives are not here."""

    def images(root: Path, train: bool, download: bool) -> SimpleNamespace:
        count = 4 * classes
        pixels = np.arange(count * 32 * 32 * 3, dtype=np.int64) * (3 - train)
        return SimpleNamespace(
            data=(pixels % 251).astype(np.uint8).reshape(count, 32, 32, 3),
            targets=[i % classes for i in range(count)],
            classes=[f"class {i}" for i in range(classes)],
        )

    images.tgz_md5 = images.filename = "none"  # type: ignore[attr-defined]
    return images


def settings(recipe: Recipe) -> Any:
    """Look at what a recipe sets before anything is computed, as on a processor with AVX-512."""
    kept = {name: os.environ.pop(name, None) for name in PORTABLE}
    try:
        with (
            patch.object(torch.cpu, "_is_avx512_supported", lambda: True),
            patch.object(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2"),
        ):
            take_place("cpu", recipe)
        variables = {name: os.environ.get(name) for name in PORTABLE}
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    logits = {}
    execution = Execution(recipe)
    for name in ("resnet14", "resnet8"):
        small = nn.Linear(2, 2).float()
        logits[name] = str(execution.forward(name, small, torch.zeros(1, 2).float()).dtype)
    return [
        is_portable(recipe),
        variables,
        torch.get_deterministic_debug_mode(),
        torch.backends.cudnn.benchmark,
        torch.get_num_threads() if recipe.cpu_threads else None,
        logits,
    ]


def evaluation(study: Study, key: str) -> Any:
    """Evaluate networks whose weights are written here, so that no training is part of it."""
    from orc_repro.stages.predictions import evaluate_and_keep

    cell = study.cell(key)
    group, recipe, _ = study.parts(cell)
    manifest = load_any_manifest(PREPARED / cell.dataset)
    take_place("cpu", recipe)
    names = [*cell.teachers, *group.students]
    for number, name in enumerate(names):
        state = build_network(name, manifest, 0, torch.device("cpu")).state_dict()
        for which in ("last", "best"):
            made = {k: _values(v, number + (which == "best"), "var" in k) for k, v in state.items()}
            save_weights(made, WEIGHTS / key / which / f"{name}.safetensors")
            if name in cell.teachers:
                save_weights(made, Path(cell.teachers[name]))
    history = History(
        cell=key,
        row="",
        fingerprint="",
        training_images=manifest.count("train"),
        epochs=({VALIDATION_TOP1: 0.0}, {VALIDATION_TOP1: 0.0}),
        best={name: BestEpoch(epoch=1, validation_top1=0.0) for name in names},
        elected={},
        role_changes=0,
        not_finite=(),
    )
    write_json(trained(study.name) / f"{key}.json", history.model_dump(mode="json"))
    evaluate_and_keep(study, key, "cpu")
    result = json.loads((evaluated(study.name) / f"{key}.json").read_text())
    kept = json.loads((evaluated(study.name).parent / "predictions" / f"{key}.json").read_text())
    return [{k: v for k, v in result.items() if k not in NAMES}, kept["classes"]]


def _values(like: Tensor, number: int, positive: bool) -> Tensor:
    """Return values that depend on nothing but the shape and a number."""
    if not like.is_floating_point():
        return torch.ones_like(like)
    wave = torch.sin(torch.arange(like.numel(), dtype=torch.float64) * 1.3 + number)
    return (1 + 0.3 * wave if positive else 0.4 * wave).view(like.shape).to(like.dtype)


def table(path: Path) -> Any:
    """Return the role changes of a run."""
    import pandas as pd

    return pd.read_parquet(path).to_dict("list")


def edge_cases(method: AnyMethod) -> Any:
    """Look at what a run of a few steps does not meet: ties, networks that are NaN, no error;
    for methods that look into networks, where they do so in each of them.
    """
    if isinstance(method, FeatureConfig):
        large, small = torch.arange(64.0).view(1, 1, 8, 8), torch.arange(16.0).view(1, 1, 4, 4)
        pairs = of_one_size(large, small), of_one_size(small, large)
        sizes = [summary(dict(zip("ab", pair, strict=True))) for pair in pairs]
        return [sizes, {name: stage_ends(net.features) for name, net in _classifiers()}]
    if isinstance(method, OneConfig):
        return {
            name: [cut := last_stage_of(net.features), width_at(net.features, cut)]
            for name, net in _classifiers()
        }
    if not isinstance(method, OrcConfig):
        return None
    losses = torch.tensor([[0.5, 1.5, 0.1], [2.0, 0.3, 0.2], [torch.nan, 1.0, 1.0]])
    wrong = torch.tensor([[False, True, False], [True, False, False], [True, True, True]])
    uniform = torch.tensor([0.9, 0.1, 0.5])
    choice, nobody = method.feedback.choice, method.feedback.nobody_errs
    promotion = method.promotion
    return [
        feedback_probabilities(choice, losses, wrong).tolist(),
        feedback_probabilities(choice, losses[:2], wrong[:2] & False).tolist(),
        draw_partners(torch.zeros(3), uniform, nobody).tolist(),
        [
            elect(
                scores,
                {"a": 0.5, "b": 0.2, "c": 0.9},
                Roles(None, held, tuple(n for n in "abc" if n not in held)),
                top_k=promotion.top_k,
                margin=promotion.margin,
                min_accuracy=promotion.min_accuracy,
            ).temporary_teachers
            for scores in (
                {"a": 1.0, "b": 1.0, "c": 1.0},
                {"a": float("nan"), "b": 1.0, "c": 1.04},
                {"a": float("nan"), "b": float("nan"), "c": float("inf")},
            )
            for held in ((), ("b",), ("c",))
        ],
    ]


@cache
def _classifiers() -> list[tuple[str, Classifier]]:
    """Return the networks whose layers methods look into, without memory for their weights."""
    with torch.device("meta"):
        networks = [(name, build(name, num_classes=10)) for name in names()]
    return [(name, net) for name, net in networks if isinstance(net, Classifier)]
