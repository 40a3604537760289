"""A cell's target network as a folder that MLflow loads."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from orc_repro.config import architecture_of
from orc_repro.data.manifest import Manifest
from orc_repro.data.photo_manifest import PhotoManifest
from orc_repro.data.prepared import load_split
from orc_repro.fingerprint import file_digest
from orc_repro.project import PREPARED, WEIGHTS
from orc_repro.report.results import Result

PACKAGE = Path(__file__).parents[1]
CODE = ("__init__.py", "errors.py", "_torchvision.py", "models")  # what a network is built with
REQUIREMENTS = ("mlflow", "torch", "numpy", "safetensors")


@dataclass(frozen=True)
class Release:
    """A target network after its last epoch.

    Attributes:
        result: the evaluation of exactly these weights.
        validation_top1: of the same epoch, in percent.
        manifest: of the dataset.
    """

    result: Result
    validation_top1: float
    manifest: Manifest

    @property
    def name(self) -> str:
        """What it is registered under: networks of one name answer the same question."""
        return f"{self.result.dataset}-{self.result.target_name}"

    @property
    def weights(self) -> Path:
        """The file of weights."""
        return WEIGHTS / self.result.cell / "last" / f"{self.result.target_name}.safetensors"

    @property
    def about(self) -> dict[str, str]:
        """What it is, as plain text: a model's metadata, and a version's tags."""
        result = self.result
        return {
            "cell": result.cell,
            "fingerprint": result.fingerprint,
            "method": result.method,
            "group": result.group,
            "recipe": result.recipe,
            "seed": str(result.seed),
            "epochs": str(result.epochs),
            "architecture": architecture_of(result.target_name),
            "parameters": str(result.target.parameters),
            "dataset": result.dataset,
            "data.manifest_sha256": self.manifest.digest,
            "class_names": ", ".join(self.manifest.class_names)[:2000],
            "weights_sha256": file_digest(self.weights),
            "validation_top1": repr(self.validation_top1),
            "test_top1": repr(result.target.last.top1),
        }

    def write(self, folder: Path, model_id: str, run_id: str) -> None:
        """Write the model: weights as safetensors, code as text, signature, an example.

        Nothing in it is pickled.

        Args:
            folder: is made; must not exist.
            model_id: the MLflow model it will be.
            run_id: the MLflow run that trained it.
        """
        import mlflow.pyfunc
        from mlflow.models import Model, ModelSignature
        from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

        shape = self.manifest.image_shape
        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *shape))]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, self.manifest.num_classes))]),
            params=ParamSchema([ParamSpec("probabilities", "boolean", False)]),
        )
        if isinstance(self.manifest, PhotoManifest):  # its images need not be on this machine
            images = np.zeros((1, *shape), dtype=np.uint8)
        else:
            images, _ = load_split(PREPARED / self.result.dataset, "validation", self.manifest)
        with tempfile.TemporaryDirectory() as place:
            weights = Path(place) / "weights.safetensors"
            shutil.copyfile(self.weights, weights)
            mlflow.pyfunc.save_model(
                folder,
                python_model=str(PACKAGE / "registry" / "target_network.py"),
                artifacts={"weights": str(weights)},
                code_paths=[str(_code(Path(place)))],
                model_config=self._config(),
                signature=signature,
                input_example=images[:1],
                pip_requirements=_requirements(self.about["architecture"]),
                metadata=self.about,
                mlflow_model=Model(model_uuid=model_id, model_id=model_id, run_id=run_id),
            )

    def _config(self) -> dict[str, Any]:
        manifest = self.manifest
        return {
            "architecture": architecture_of(self.result.target_name),
            "num_classes": manifest.num_classes,
            "in_channels": manifest.in_channels,
            "mean": list(manifest.mean),
            "std": list(manifest.std),
            "device": "cpu",
        }


def _code(place: Path) -> Path:
    """A copy of the part of this package that builds networks."""
    package = place / PACKAGE.name
    package.mkdir()
    for name in CODE:
        source = PACKAGE / name
        if source.is_dir():
            shutil.copytree(source, package / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, package / name)
    return package


def _requirements(architecture: str) -> list[str]:
    of_torchvision = architecture in ("resnet18", "resnet34")
    names = (*REQUIREMENTS, "torchvision") if of_torchvision else REQUIREMENTS
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]
