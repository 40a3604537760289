"""Who a run is: what it is made from, as a fingerprint and as a list that differences show in."""

from __future__ import annotations

import platform
import time
import uuid
from dataclasses import dataclass
from typing import Any

import torch

from orc_repro.config import AnyMethod, Group, Recipe
from orc_repro.data.manifest import SPLITS, Manifest
from orc_repro.data.photo_manifest import PhotoManifest
from orc_repro.fingerprint import code_digest, code_files, digest
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
    """Who a run is: its fingerprint and its row's, and how people call them.

    ``command`` makes it again, ``shown_in`` is MLflow's experiment where that is another than
    ``experiment``; neither is part of the fingerprint.
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
    command: str = ""
    shown_in: str = ""

    @property
    def row(self) -> str:
        """Hash of everything that made the run but its seed and the code."""
        return digest(
            {
                "dataset": self.dataset,
                "data": self.manifest.digest,
                "group": self.group.model_dump(mode="json"),
                "recipe": self.recipe.model_dump(mode="json"),
                "method": self.method.model_dump(mode="json"),
                "method_name": self.method_name,
                "experiment": self.experiment,
            }
        )[:32]

    @property
    def fingerprint(self) -> str:
        """Hash of everything that made the run: the row, the seed, the pivot and the code."""
        return digest(
            {
                "row": self.row,
                "key": self.key,
                "seed": self.seed,
                "starts_from": self.starts_from,
                "code": code_digest(self.method.kind, photos=self._photos),
            }
        )[:32]

    @property
    def made_from(self) -> dict[str, str]:
        """What the fingerprint is of, flat: a changed value can be named."""
        config = self.resolved_config()
        config.pop("fingerprint")
        parts = dict(pair for key, value in config.items() for pair in flat(key, value))
        code = code_files(self.method.kind, photos=self._photos)
        return parts | {f"code of {name}": found for name, found in code.items()}

    @property
    def _photos(self) -> bool:
        return isinstance(self.manifest, PhotoManifest)

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
