"""Make the tiny project that the probes run in: images, ``params.yaml`` and what a cell needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from orc_repro.cells import Study
from orc_repro.config import Params
from orc_repro.plan import Declaration, PivotDeclaration, Row, expand
from orc_repro.probes.catalogue import METHODS, Probe, probed_method, probes
from orc_repro.stages.origin import CIFAR_FOLDERS
from orc_repro.validation import parse

CLASSES = 7  # more than five, so that top-5 accuracy is computed
GROUP, CHAIN = "wide", "chain"
PIVOT = "resnet14"
NAME = "probe"  # of the study, and of the recipe that most probes use


def make_images(root: Path) -> None:
    """Write the images of all probes below a folder: classes with a colour of their own, and noise.

    The small images are of one size; photographs have different ones, and are cropped.
    """
    draw = np.random.default_rng(0)
    for folder, count in (("train", 4), ("test", 2)):
        _write(root / "small" / folder, draw, CLASSES, count, (8, 9))
    for name in CIFAR_FOLDERS.values():  # what is read from there is made up
        (root / "cifar" / name).mkdir(parents=True)
    for folder, count in (("train", 4), ("val", 2)):
        _write(root / "photos" / folder, draw, 3, count, (40, 60))


def _write(
    root: Path, draw: np.random.Generator, classes: int, count: int, sides: tuple[int, int]
) -> None:
    """Write ``count`` images of each class, whose sides are drawn from a range."""
    for label in range(classes):
        folder = root / f"class{label}"
        folder.mkdir(parents=True)
        colour = np.random.default_rng(label).integers(40, 216, size=3)
        for i in range(count):
            height, width = draw.integers(*sides, size=2).tolist()
            noise = draw.integers(-40, 40, size=(height, width, 3))
            Image.fromarray((colour + noise).astype(np.uint8)).save(folder / f"{i}.png")


def parameters(root: Path) -> dict[str, Any]:
    """Return the content of ``params.yaml`` with everything that a probe uses."""
    recipe: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 6,
        "optimizer": {
            "learning_rate": 0.05,
            "network_learning_rates": {PIVOT: 0.02},
            "momentum": 0.9,
            "weight_decay": 5e-3,
            "nesterov": False,
        },
        "schedule": {"milestones_epochs": [1, 2], "factor": 0.3},
        "augmentation": {"crop_padding": 0, "flip": False},
        "precision": "fp32",
        "network_precisions": {},
        "compile": "off",
        "batch_norm": "process",
        "pieces": 1,
        "deterministic": True,
        "cpu_threads": 1,
    }
    photos = {
        "source": "imagenet",
        "root": str(root / "photos"),
        "classes": 3,
        "validation_fraction": 0.25,
        "split_seed": 0,
        "shards": {"root": str(root / "shards"), "side": 40},
        "resize": 36,
        "crop": 32,
        "crop_area": [0.3, 1.0],
        "crop_ratio": [0.75, 1.3333],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    split = {"validation_fraction": 0.25, "split_seed": 0}
    return {
        "data": {
            "small": {"source": "folder", "root": str(root / "small"), **split},
            "digits": {"source": "digits", "test_fraction": 0.2, **split},
            **{
                name: {"source": name, "root": str(root / "cifar"), "download": False, **split}
                for name in ("cifar10", "cifar100")
            },
            "folder": photos | {"form": "folder"},
            "shards": photos | {"form": "shards"},
        },
        "groups": {
            GROUP: {
                "pivot": PIVOT,
                "students": ["resnet14.a", "resnet8.a", "resnet8"],
                "target": "resnet8",
            },
            CHAIN: {"pivot": PIVOT, "students": ["resnet8.a", "resnet8"], "target": "resnet8"},
        },
        "recipes": {
            NAME: recipe,
            "nesterov": recipe | {"optimizer": recipe["optimizer"] | {"nesterov": True}},
            "pieces": recipe | {"pieces": 2},
            "crop": recipe | {"augmentation": {"crop_padding": 2, "flip": False}},
            "flip": recipe | {"augmentation": {"crop_padding": 0, "flip": True}},
            "fast": recipe | {"deterministic": False},
            "bf16": recipe | {"precision": "bf16", "network_precisions": {PIVOT: "fp32"}},
        },
        "methods": {
            _key(probe.name): probed_method(probe.name)
            for probe in probes()
            if probe.subject == "method"
        },
        "tracking": {"enabled": False, "role_changes": "all"},
        "train": {"processes": 1, "max_restarts": 0},
        "checkpoints": {"every_seconds": 3600.0},
        "loader": {"workers": 0, "prefetch_batches": 1},
    }


def study_of(params: Params, probe: Probe) -> tuple[Study, str]:
    """Return the study of a probe's one cell, and the cell's key."""
    dataset, recipe, method, group = "small", NAME, "ce", CHAIN
    if probe.subject == "method":
        method = _key(probe.name)
        group = GROUP if params.methods[method].kind == "orc" else CHAIN
    elif probe.subject == "photos":
        dataset = probe.name
    elif probe.subject in ("recipe", "augmentation"):
        recipe = probe.name
    elif probe.subject == "stage":
        method, group = {"pretrain": ("kd", CHAIN), "assist": ("takd", CHAIN)}.get(
            probe.name, ("orc", GROUP)
        )
    row = Row(
        dataset=dataset,
        groups=(group,),
        recipe=recipe,
        pivot=PivotDeclaration(recipe=recipe, seed=0),
        methods=(method,),
        seeds=(3,),
    )
    declaration = Declaration(title=NAME, experiment=NAME, rows=(row,))
    cells = expand(declaration, params, NAME)
    return Study(params, cells, Path("studies") / NAME), next(iter(cells.cells))


def load_parameters(root: Path) -> Params:
    """Return the parameters, checked as those of a file are."""
    return parse(Params, parameters(root), "the probes' parameters")


def _key(name: str) -> str:
    """Turn a probe's name into one that ``params.yaml`` takes."""
    return name if name in METHODS else "".join(c if c.isalnum() else "-" for c in name)
