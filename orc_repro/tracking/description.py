"""How a run presents itself in MLflow: names, parameters and tags that compare across methods."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self, get_args

from pydantic import BaseModel, Field, model_validator

from orc_repro.config import AnyMethod, Group, Recipe
from orc_repro.project import REPORTS, RESULTS
from orc_repro.ranges import Count, Epochs, Milliseconds
from orc_repro.validation import Name, Strict

NOT_USED = "n/a"
SCHEMA_VERSION = "1"
REQUIRED_TAGS = ("device", "version.torch", "git.commit", "git.dirty")
"""Those that ``runs.csv`` shows."""
PACKAGES = ("torch", "torchvision", "mlflow", "dvc", "numpy", "pandas")


class Description(Strict):
    """What MLflow is told of a run when it starts; kept in the run folder as ``run.json``.

    ``row`` identifies the parent run: everything that made the run but its seed and the code.
    ``attempt`` tells two runs of one fingerprint apart. ``experiment_before``: where an earlier
    version would have put the run. ``recipe`` is in words, ``command`` makes the run again,
    ``images`` counts the dataset's by split, ``started_ms`` is when it began, in milliseconds since
    1970; empty in what an earlier version wrote.
    """

    study: Name
    experiment: str
    fingerprint: str
    attempt: Name
    cell: Name
    row: str
    row_name: str
    run_name: str
    epochs: Epochs
    students: tuple[str, ...]
    params: dict[str, str]
    tags: dict[str, str]
    experiment_before: str = ""
    recipe: str = ""
    command: str = ""
    images: dict[str, Count] = Field(default_factory=dict)
    started_ms: Milliseconds = 0

    @model_validator(mode="after")
    def _tagged(self) -> Self:
        for name in REQUIRED_TAGS:
            if name not in self.tags:
                raise ValueError(f"tags has no {name}")
        return self


def chain_of(group: Group) -> str:
    """``resnet26→8``: pivot and target, what both begin with written once."""
    if group.pivot is None:
        return group.target
    family = re.match(r"\D*", group.pivot)
    shared = family.group() if family else ""
    return f"{group.pivot}→{group.target.removeprefix(shared)}"


def in_words(recipe: Recipe) -> str:
    """A recipe as a person would say it, in one line."""
    sgd, schedule, augmentation = recipe.optimizer, recipe.schedule, recipe.augmentation
    rate = f"learning rate {sgd.learning_rate:g}"
    if sgd.network_learning_rates:
        others = ", ".join(f"{name} {v:g}" for name, v in sgd.network_learning_rates.items())
        rate += f" ({others})"
    if schedule.milestones_epochs:
        epochs = ", ".join(map(str, schedule.milestones_epochs))
        rate += f", times {schedule.factor:g} after epochs {epochs}"
    padding = augmentation.crop_padding
    changes = [f"crops with {padding} pixels of padding"] if padding else []
    changes += ["mirroring"] if augmentation.flip else []
    return "; ".join(
        [
            f"{recipe.epochs} epochs, batches of {recipe.batch_size}",
            f"{'Nesterov' if sgd.nesterov else 'SGD'}, {rate}",
            f"momentum {sgd.momentum:g}, weight decay {sgd.weight_decay:g}",
            " and ".join(changes) or "no augmentation",
            recipe.precision,
        ]
    )


def flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """``{"a": {"b": 1}}`` -> ``("prefix.a.b", "1")``; lists joined by commas."""
    if isinstance(value, Mapping):
        if not value:
            yield prefix, "none"
        for key, inner in value.items():
            yield from flat(f"{prefix}.{key}", inner)
    elif isinstance(value, (list, tuple)):
        yield prefix, ", ".join(map(str, value))
    else:
        yield prefix, "none" if value is None else str(value)


def _empty(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _empty(inner, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}", NOT_USED


def run_params(
    *,
    dataset: str,
    group_name: str,
    group: Group,
    recipe: Recipe,
    method_name: str,
    method: Strict,
    seed: int,
) -> dict[str, str]:
    """Flat parameters with the same keys for every method, ``n/a`` where one has none."""
    params = {
        "dataset": dataset,
        "group": group_name,
        "group.size": str(len(group.students) + (group.pivot is not None)),
        "method": method_name,
        "seed": str(seed),
    }
    params |= dict(flat("group", group.model_dump()))
    recipe_content = recipe.model_dump()
    rates = recipe_content["optimizer"].pop("network_learning_rates")
    params |= dict(flat("recipe", recipe_content))
    params["recipe.optimizer.network_learning_rates"] = (
        ", ".join(f"{name} {rate}" for name, rate in rates.items()) or "none"
    )
    for model in get_args(AnyMethod):
        params |= dict(_empty(model, "method"))
    return params | dict(flat("method", method.model_dump()))


def run_tags(*, device: str, manifest_digest: str, deterministic: bool) -> dict[str, str]:
    """Where, with what and from which commit a run was made."""
    commit, dirty = git_state()
    tags = {
        "git.commit": commit,
        "git.dirty": dirty,
        "mlflow.source.git.commit": commit,
        "mlflow.source.name": "orc-repro train",
        "mlflow.source.type": "LOCAL",
        "data.manifest_sha256": manifest_digest,
        "device": device,
        "determinism": "exact" if deterministic else "statistical",
        "python": platform.python_version(),
        "schema_version": SCHEMA_VERSION,
    }
    tags |= {f"version.{name}": installed(name) for name in PACKAGES}
    for ours, theirs in (
        ("dvc.stage", "DVC_STAGE"),
        ("dvc.exp_name", "DVC_EXP_NAME"),
        ("dvc.exp_baseline", "DVC_EXP_BASELINE_REV"),
    ):
        if os.environ.get(theirs):
            tags[ours] = os.environ[theirs]
    return tags


def installed(package: str) -> str:
    """The version of a package, or ``none``."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def git_state() -> tuple[str, str]:
    """The commit and whether the tree differs from it; ``unknown`` outside a repository.

    What this program itself writes is no difference: results, and reports of them.
    """
    ours = [f":(exclude){folder.as_posix()}" for folder in (RESULTS, REPORTS)]
    try:
        commit, status = (
            subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout
            for words in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "-uno", "--", ":/", *ours],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown", "unknown"
    return commit.strip(), str(bool(status.strip())).lower()
