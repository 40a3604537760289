"""Identify a run: what it is made from, as a fingerprint and as values that can be compared."""

from __future__ import annotations

import platform
import time
import uuid
from dataclasses import dataclass
from typing import Any, Literal

import torch

from orc_repro.config import AnyMethod, Group, Recipe
from orc_repro.data.manifest import SPLITS, Manifest
from orc_repro.data.photo_manifest import PhotoManifest
from orc_repro.distill import METHODS
from orc_repro.fingerprint import digest
from orc_repro.probes.behaviour import digests_of
from orc_repro.probes.catalogue import training_probes
from orc_repro.tracking.description import (
    Description,
    chain_of,
    flat,
    git_state,
    in_words,
    run_params,
    run_tags,
)
from orc_repro.training.device import device_name


@dataclass(frozen=True)
class Identity:
    """A run's content, which its fingerprint is of, and the names that it has.

    The fingerprint is of content alone: what the code computes, the data, the values of group,
    recipe and method, the seed and the teachers' weights. Names are labels: of the study, the
    cell, the experiment, the dataset, the group, the recipe and the method. ``command`` makes the
    run again, ``shown_in`` is MLflow's experiment where that is another than ``experiment``.
    """

    study: str
    key: str
    experiment: str
    dataset: str
    group_name: str
    group: Group
    recipe_name: str
    recipe: Recipe
    method_name: str
    method: AnyMethod
    seed: int
    manifest: Manifest
    starts_from: str
    stage: Literal["train", "pretrain", "assist"] = "train"
    command: str = ""
    shown_in: str = ""

    @property
    def row(self) -> str:
        """Hash the data and the values of group, recipe and method: all seeds have them alike."""
        return digest(
            {
                "data": self.manifest.content_digest,
                "group": self.group.model_dump(mode="json"),
                "recipe": self.recipe.model_dump(mode="json"),
                "method": self.method.model_dump(mode="json"),
            }
        )[:32]

    @property
    def fingerprint(self) -> str:
        """Hash the row, the seed, the teachers' weights and what the code computes."""
        return digest(
            {
                "row": self.row,
                "seed": self.seed,
                "starts_from": self.starts_from,
                "behaviour": self.behaviour,
            }
        )[:32]

    @property
    def behaviour(self) -> dict[str, str]:
        """Return the digest of each probe that the run depends on, by name."""
        networks = METHODS[self.method.kind].networks_of(self.group, self.method)
        form = self.manifest.form if isinstance(self.manifest, PhotoManifest) else None
        return digests_of(training_probes(self.stage, networks, self.method, self.recipe, form))

    @property
    def made_from(self) -> dict[str, str]:
        """What the fingerprint is of, flat: a changed value can be named."""
        config = self.resolved_config()
        config.pop("fingerprint")
        parts = dict(pair for key, value in config.items() for pair in flat(key, value))
        return parts | {f"behaviour of {name}": value for name, value in self.behaviour.items()}

    def made_with(self, device: torch.device) -> dict[str, str]:
        """What else can change a result's last bits; and the commit."""
        return {
            "commit": git_state()[0],
            "torch": torch.__version__,
            "device": device_name(device),
            "processor": _processor(),
            "CPU threads": str(torch.get_num_threads()),
        }

    def resolved_config(self) -> dict[str, Any]:
        """The run's whole configuration as plain data."""
        return {
            "study": self.study,
            "cell": self.key,
            "experiment": self.experiment,
            "dataset": self.dataset,
            "data_manifest": self.manifest.digest,
            "group": self.group.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(mode="json"),
            "method_name": self.method_name,
            "method": self.method.model_dump(mode="json"),
            "seed": self.seed,
            "starts_from": self.starts_from,
            "fingerprint": self.fingerprint,
        }

    def description(self, device: torch.device) -> Description:
        """What MLflow is told."""
        group = self.group
        chain = chain_of(group)
        tags = run_tags(
            device=device_name(device),
            manifest_digest=self.manifest.digest,
            deterministic=self.recipe.deterministic,
        )
        return Description(
            study=self.study,
            experiment=self.shown_in or self.experiment,
            experiment_before=self.experiment,
            fingerprint=self.fingerprint,
            attempt=uuid.uuid4().hex,
            cell=self.key,
            row=self.row,
            row_name=f"{self.method_name} · {chain} · {self.dataset}",
            run_name=f"{self.method_name} · {chain} · seed {self.seed}",
            epochs=self.recipe.epochs,
            students=group.students,
            params=run_params(
                dataset=self.dataset,
                group_name=self.group_name,
                group=group,
                recipe=self.recipe,
                method_name=self.method_name,
                method=self.method,
                seed=self.seed,
            ),
            tags=tags
            | {
                "method": self.method_name,
                "dataset": self.dataset,
                "group": self.group_name,
                "recipe": self.recipe_name,
                "seed": str(self.seed),
                "processor": _processor(),
            },
            recipe=in_words(self.recipe),
            command=self.command,
            started_ms=time.time_ns() // 1_000_000,
            images={split: self.manifest.count(split) for split in SPLITS},
        )


def _processor() -> str:
    """The instructions that are used here: they decide how sums are split."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
