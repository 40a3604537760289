"""List the probes, and say which of them a result depends on.

A probe is named ``<subject>/<name>``. Methods have one probe for each kind and one more for each
option that has a branch of its own, so that an edit of such a branch invalidates only the results
that take it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from orc_repro.config import AnyMethod, DataConfig, ImagenetData, Recipe, architecture_of
from orc_repro.models import names as network_names

Option = tuple[str, Any]
"""The dotted key of a method's option, and the value that has a branch of its own."""

METHODS: dict[str, dict[str, Any]] = {
    "ce": {},
    "kd": {"temperature": 3.0, "beta": 0.3},
    "takd": {"temperature": 3.0, "beta": 0.3},
    "dgkd": {"temperature": 3.0, "beta": 0.3, "drop_probability": 0.0},
    "feature": {
        "loss": "pkt",
        "weight": 0.8,
        "ce_weight": 0.7,
        "kd_weight": 0.4,
        "temperature": 3.0,
    },
    "dml": {"members": "group", "temperature": 2.0, "weight": 0.7, "order": "sequential"},
    "kdcl": {"members": "group", "ensemble": "naive", "temperature": 3.0, "weight": 0.7},
    "one": {"branches": 3, "temperature": 3.0, "weight": 0.7},
    "orc": {
        "temperature": 3.0,
        "beta": 0.3,
        "ranking": {"criterion": "loss", "smoothing": 0.0, "batch_norm": "train"},
        "promotion": {"rule": "elected", "top_k": 1, "margin": 0.0, "min_accuracy": 0.0},
        "feedback": {"choice": "student_loss", "nobody_errs": "self", "across": "process"},
        "mixup": {"alpha": 1.0, "draw_per": "batch"},
        "intensive": {"material": "mixed_feedback", "pivot_lr_scale": 0.1},
        "teaching": {
            "private": True,
            "group": "individual",
            "order": "sequential",
            "pivot_batch_norm": "batch",
            "temporary_batch_norm": "batch",
        },
    },
}
"""The configuration that each kind of method is probed with."""

OPTIONS: dict[str, tuple[Option, ...]] = {
    "dgkd": (("drop_probability", 0.5),),
    "feature": tuple(("loss", loss) for loss in ("fitnet", "at", "vid", "rkd")),
    "dml": (("members", "students"), ("order", "simultaneous")),
    "kdcl": (
        ("members", "students"),
        *(("ensemble", ensemble) for ensemble in ("linear", "minlogit", "general")),
    ),
    "orc": (
        ("ranking.criterion", "accuracy"),
        ("ranking.criterion", "improvement"),
        ("ranking.smoothing", 0.9),
        ("ranking.batch_norm", "eval"),
        *(("promotion.rule", rule) for rule in ("deepest", "shallowest", "random")),
        ("promotion.top_k", 0),
        ("promotion.top_k", 2),
        ("promotion.margin", 0.05),
        ("promotion.min_accuracy", 0.3),
        *(("feedback.choice", choice) for choice in ("sample_loss", "union", "hardest")),
        ("feedback.nobody_errs", "random"),
        ("mixup.draw_per", "sample"),
        *(("intensive.material", m) for m in ("feedback", "mixed_random", "none")),
        ("intensive.pivot_lr_scale", 0.0),
        ("teaching.private", False),
        ("teaching.group", "mean"),
        ("teaching.group", "ensemble_logits"),
        ("teaching.group", "ensemble_probabilities"),
        ("teaching.group", "none"),
        ("teaching.order", "simultaneous"),
        ("teaching.pivot_batch_norm", "running"),
        ("teaching.temporary_batch_norm", "running"),
    ),
}
"""For each kind, the options that are probed besides its configuration in ``METHODS``."""

SOURCES = ("digits", "cifar", "folder", "imagenet")
RECIPES = ("exact", "fast", "bf16", "nesterov", "pieces")
AUGMENTATIONS = ("crop", "flip")
PHOTOS = ("folder", "shards")
STAGES = ("pretrain", "assist", "evaluate")


@dataclass(frozen=True)
class Probe:
    """One probe: its subject, such as ``method``, and its name within it."""

    subject: str
    name: str

    def __str__(self) -> str:
        return f"{self.subject}/{self.name}"


def probes() -> list[Probe]:
    """List every probe, in the order in which they are run."""
    subjects: dict[str, list[str]] = {
        "prepare": [*SOURCES],
        "stage": [*STAGES],
        "method": [name for kind in METHODS for name in (kind, *_option_names(kind))],
        "recipe": [*RECIPES],
        "augmentation": [*AUGMENTATIONS],
        "photos": [*PHOTOS],
        "network": [*network_names()],
    }
    return [Probe(subject, name) for subject, names in subjects.items() for name in names]


def probed_method(name: str) -> dict[str, Any]:
    """Return the method configuration that the probe ``method/<name>`` runs."""
    kind, _, option = name.partition("+")
    content = {"kind": kind} | deepcopy(METHODS[kind])
    for key, value in OPTIONS.get(kind, ()):
        if option == _option_name(key, value):
            *sections, last = key.split(".")
            section = content
            for part in sections:
                section = section[part]
            section[last] = value
    return content


def training_probes(
    stage: str,
    networks: tuple[str, ...],
    method: AnyMethod,
    recipe: Recipe,
    photos: str | None = None,
) -> list[str]:
    """List the probes that a training run depends on.

    Args:
        stage: ``pretrain``, ``assist`` or ``train``.
        networks: names of the networks that the method trains or asks, labels included.
        method: the run's method.
        recipe: the run's recipe.
        photos: the form of a dataset of photographs, ``folder`` or ``shards``; None for others.
    """
    listed = [f"method/{name}" for name in _method_names(method)]
    listed += [] if stage == "train" else [f"stage/{stage}"]
    listed += [f"recipe/{name}" for name in _recipe_names(recipe)]
    listed += [f"photos/{photos}"] if photos else []
    if recipe.augmentation.crop_padding:
        listed.append("augmentation/crop")
    if recipe.augmentation.flip:
        listed.append("augmentation/flip")
    return [*listed, *_network_probes(networks)]


def evaluation_probes(networks: tuple[str, ...], photos: str | None = None) -> list[str]:
    """List the probes that a result on the test split depends on, besides its weights."""
    read = [f"photos/{photos}"] if photos else []
    return ["stage/evaluate", *read, *_network_probes(networks)]


def preparation_probes(data: DataConfig) -> list[str]:
    """List the probes that a prepared dataset depends on."""
    source = "cifar" if data.source in ("cifar10", "cifar100") else data.source
    return [f"prepare/{source}"]


def _option_name(key: str, value: Any) -> str:
    return f"{key}={value}"


def _option_names(kind: str) -> list[str]:
    return [f"{kind}+{_option_name(*option)}" for option in OPTIONS.get(kind, ())]


def _method_names(method: AnyMethod) -> Iterator[str]:
    yield method.kind
    content = method.model_dump()
    for key, value in OPTIONS.get(method.kind, ()):
        if _takes_branch(_at(content, key), value):
            yield f"{method.kind}+{_option_name(key, value)}"


def _at(content: Mapping[str, Any], key: str) -> Any:
    value: Any = content
    for part in key.split("."):
        value = value[part]
    return value


def _takes_branch(value: Any, probed: Any) -> bool:
    """Tell whether a value takes the branch that a probed one takes.

    Fractions above 0 take one branch; so do whole numbers from the probed one on.
    """
    if isinstance(probed, bool | str) or probed == 0:
        return bool(value == probed)
    if isinstance(probed, int):
        return bool(value >= probed)
    return bool(value > 0)


def _recipe_names(recipe: Recipe) -> Iterator[str]:
    yield "exact" if recipe.deterministic else "fast"
    if "bf16" in (recipe.precision, *recipe.network_precisions.values()):
        yield "bf16"
    if recipe.optimizer.nesterov:
        yield "nesterov"
    if recipe.pieces > 1:
        yield "pieces"


def photos_of(data: DataConfig) -> str | None:
    """Return the form of a dataset of photographs; None for other datasets."""
    return data.form if isinstance(data, ImagenetData) else None


def _network_probes(networks: tuple[str, ...]) -> list[str]:
    return [f"network/{name}" for name in dict.fromkeys(map(architecture_of, networks))]
