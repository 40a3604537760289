"""Small groups, recipes and configurations that tests share."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from orc_repro.config import Group, KdConfig, OrcConfig, Sgd
from orc_repro.validation import parse

CLASSES = 3
Element = TypeVar("Element")


class CountedSet(set[Element]):
    """A set that counts how often another is made from it."""

    unions = 0

    def __or__(self, other: Any) -> Any:
        self.unions += 1
        return super().__or__(other)


SGD = Sgd(
    learning_rate=0.1,
    network_learning_rates={},
    momentum=0.9,
    weight_decay=1e-3,
    nesterov=False,
)
ORC: dict[str, Any] = {
    "kind": "orc",
    "temperature": 4.0,
    "beta": 0.5,
    "ranking": {"criterion": "loss", "smoothing": 0.0, "batch_norm": "train"},
    "promotion": {"rule": "elected", "top_k": 1, "margin": 0.0, "min_accuracy": 0.0},
    "feedback": {"choice": "student_loss", "nobody_errs": "self", "across": "process"},
    "mixup": {"alpha": 1.0, "draw_per": "batch"},
    "intensive": {"material": "mixed_feedback", "pivot_lr_scale": 0.1},
    "teaching": {
        "private": True,
        "group": "individual",
        "order": "sequential",
        "pivot_batch_norm": "running",
        "temporary_batch_norm": "running",
    },
}
KD = KdConfig(kind="kd", temperature=4.0, beta=0.5)


def orc_config(**changes: Any) -> OrcConfig:
    """The default with some values changed; ``section__key`` reaches inside a section."""
    content = {key: dict(v) if isinstance(v, dict) else v for key, v in ORC.items()}
    for path, value in changes.items():
        section, _, key = path.partition("__")
        if key:
            content[section][key] = value
        else:
            content[section] = value
    return parse(OrcConfig, content, "test")


def group_of(*students: str, pivot: str | None = "resnet20") -> Group:
    """A group whose last student is the target."""
    return Group(pivot=pivot, students=students, target=students[-1])


def tiny_network(seed: int, width: int = 4, classes: int = CLASSES) -> nn.Module:
    """A convolution, a batch norm and a classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(width * 16, classes),
        )


def tiny_networks(group: Group, seed: int = 0) -> dict[str, nn.Module]:
    """A tiny network for each name of a group, all of them different."""
    names = [*([group.pivot] if group.pivot else []), *group.students]
    return {name: tiny_network(seed + i, width=2 + i) for i, name in enumerate(names)}


def tiny_batch(seed: int = 0, size: int = 8) -> tuple[Tensor, Tensor]:
    """Images [size, 1, 4, 4] and labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 1, 4, 4, generator=generator)
    return images, torch.randint(CLASSES, (size,), generator=generator)
