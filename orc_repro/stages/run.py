"""What pretraining and training share: data, a run folder, tracking, and an end in any case."""

from __future__ import annotations

import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from orc_repro.config import CeConfig, Group, KdConfig, OrcConfig, Recipe, Tracking
from orc_repro.data.batches import Augmentation, ResidentImages
from orc_repro.data.prepared import Manifest, load_manifest, load_split
from orc_repro.distill import Method
from orc_repro.errors import UserError
from orc_repro.fingerprint import code_digest, digest, write_json
from orc_repro.progress import Progress
from orc_repro.project import PREPARED, run_folder
from orc_repro.tracking.description import Description, run_params, run_tags
from orc_repro.tracking.runlog import RunLog, read_lines
from orc_repro.tracking.tracker import Tracker
from orc_repro.training.device import device_name
from orc_repro.training.loop import Progressed, TrainingData, fit
from orc_repro.validation import read_json

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Identity:
    """Who a run is: its fingerprint and its row's, and how people call them."""

    study: str
    key: str
    experiment: str
    dataset: str
    group_name: str
    group: Group
    recipe_name: str
    recipe: Recipe
    method_name: str
    method: CeConfig | KdConfig | OrcConfig
    seed: int
    manifest: Manifest
    starts_from: str

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
                "code": code_digest(),
            }
        )[:32]

    def description(self, device: torch.device) -> Description:
        """What MLflow is told."""
        group = self.group
        chain = f"{group.pivot}→{group.target}" if group.pivot else group.target
        tags = run_tags(
            device=device_name(device),
            manifest_digest=self.manifest.digest,
            deterministic=self.recipe.deterministic,
        )
        return Description(
            study=self.study,
            experiment=self.experiment,
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
            },
        )


def resident(
    dataset: str, split: str, manifest: Manifest, recipe: Recipe, device: torch.device
) -> ResidentImages:
    """A prepared split on the device, to be augmented as the recipe says."""
    images, labels = load_split(PREPARED / dataset, split, manifest)
    augmentation = Augmentation(recipe.augmentation.crop_padding, recipe.augmentation.flip)
    return ResidentImages(
        images,
        labels,
        mean=manifest.mean,
        std=manifest.std,
        augmentation=augmentation,
        device=device,
    )


def manifest_of(dataset: str) -> Manifest:
    """The manifest of a prepared dataset."""
    return load_manifest(PREPARED / dataset)


@dataclass
class Run:
    """A run under way; :meth:`train` brings it to its last epoch or ends it with a reason."""

    identity: Identity
    device: torch.device
    tracking: Tracking

    def __post_init__(self) -> None:
        self.folder: Path = run_folder(self.identity.fingerprint)
        self.checkpoint = self.folder / CHECKPOINT
        about = self.identity.description(self.device)
        earlier = self.folder / "run.json"
        resumed = self.checkpoint.exists() and earlier.exists()
        if resumed:  # it stays the same MLflow run
            attempt = read_json(Description, earlier).attempt
            about = about.model_copy(update={"attempt": attempt})
        self.tracker = Tracker(self.folder, about, self.tracking, resumed)

    def train(self, method: Method, target: str) -> Progressed:
        """Train to the last epoch; an error or an interrupt also ends the MLflow run."""
        identity, recipe = self.identity, self.identity.recipe
        try:
            train, validation = (
                resident(identity.dataset, split, identity.manifest, recipe, self.device)
                for split in ("train", "validation")
            )
            steps = len(train) // recipe.batch_size
            with (
                closing(RunLog(self.folder)) as log,
                Progress(identity.key, recipe.epochs, steps) as progress,
            ):
                return fit(
                    method,
                    TrainingData(train, validation, identity.manifest.num_classes),
                    recipe,
                    target=target,
                    seed=identity.seed,
                    log=log,
                    checkpoint=self.checkpoint,
                    progress=progress,
                )
        except KeyboardInterrupt:
            self.tracker.finish("KILLED", "interrupted")
            raise
        except torch.OutOfMemoryError:
            self.tracker.finish("FAILED", "out of memory")
            raise UserError(
                f"the device ran out of memory with batches of {recipe.batch_size}; it holds"
                f" {', '.join(method.networks)} at once"
            ) from None
        except Exception as error:
            self.tracker.finish("FAILED", " ".join(str(error).split()))
            raise

    def finish(self, artifacts: dict[str, Path], weights_digest: str, done: Progressed) -> None:
        """The run's outputs are written: end it, deliver it, and drop its checkpoint."""
        config = self.folder / "config.json"
        write_json(config, self.resolved_config())
        records = [record for _, record in read_lines(self.folder / "metrics.jsonl")]
        seconds = sum(record["values"]["cost/epoch_seconds"] for record in records)
        train = self.identity.manifest.count("train")
        batch = self.identity.recipe.batch_size
        images = len(done.history) * (train // batch) * batch
        problem = self.tracker.finish(
            "FINISHED",
            figures={"cost/images_per_second": images / seconds} if seconds else {},
            artifacts=artifacts | {"config/resolved.json": config},
            weights_digest=weights_digest,
        )
        self.checkpoint.unlink(missing_ok=True)
        if problem:
            print(f"warning: {problem}")

    def resolved_config(self) -> dict[str, Any]:
        """The run's whole configuration as plain data."""
        identity = self.identity
        return {
            "cell": identity.key,
            "dataset": identity.dataset,
            "data_manifest": identity.manifest.digest,
            "group": identity.group.model_dump(mode="json"),
            "recipe": identity.recipe.model_dump(mode="json"),
            "method": identity.method.model_dump(mode="json"),
            "seed": identity.seed,
            "starts_from": identity.starts_from,
            "fingerprint": identity.fingerprint,
        }
