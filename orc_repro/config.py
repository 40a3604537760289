"""``params.yaml`` as frozen, strict models.

Every parameter that can change a result is written out in ``params.yaml``; none has a default
here, so that ``dvc params diff`` tells the whole difference between two experiments. An unknown
key, a wrong type or a value out of range stops at once. Why each value is what it is:
``docs/method.md``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from orc_repro.data_config import (
    CifarData,
    DataConfig,
    DigitsData,
    FolderData,
    ImagenetData,
    Shards,
)
from orc_repro.errors import UserError
from orc_repro.method_config import (
    AnyMethod,
    CeConfig,
    DgkdConfig,
    DmlConfig,
    FeatureConfig,
    KdclConfig,
    KdConfig,
    MethodConfig,
    OneConfig,
    OrcConfig,
    TakdConfig,
)
from orc_repro.validation import Name, Strict, parse
from orc_repro.yaml_files import read_yaml

__all__ = [
    "AnyMethod",
    "AugmentationConfig",
    "CeConfig",
    "CheckpointConfig",
    "CifarData",
    "DataConfig",
    "DgkdConfig",
    "DigitsData",
    "DmlConfig",
    "FeatureConfig",
    "FolderData",
    "Group",
    "ImagenetData",
    "KdConfig",
    "KdclConfig",
    "LoaderConfig",
    "MethodConfig",
    "OneConfig",
    "OrcConfig",
    "Params",
    "Recipe",
    "Sgd",
    "Shards",
    "StepSchedule",
    "TakdConfig",
    "Tracking",
    "TrainConfig",
    "architecture_of",
    "load_params",
]

# --- networks ---------------------------------------------------------------------------------


def architecture_of(network: str) -> str:
    """``resnet20.b`` -> ``resnet20``: a label lets a group hold one architecture twice."""
    return network.split(".", 1)[0]


class Group(Strict):
    """The students that learn beside each other, one the target, and a pre-trained pivot.

    A group for methods without a teacher has ``pivot: null``. The names become file names.
    """

    pivot: Name | None
    students: tuple[Name, ...] = Field(min_length=1, strict=False)
    target: Name

    @model_validator(mode="after")
    def _names_are_distinct_and_known(self) -> Group:
        from orc_repro.models import check_name  # here, so that reading a config loads no torch

        names = [*self.students] if self.pivot is None else [self.pivot, *self.students]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"'{name}' is named twice; tell them apart as '{name}.a', '{name}.b'"
                )
            try:
                check_name(architecture_of(name))
            except UserError as error:
                raise ValueError(str(error)) from None
        if self.target not in self.students:
            allowed = ", ".join(self.students)
            raise ValueError(f"target '{self.target}' is not among the students: {allowed}")
        return self

    @property
    def assistants(self) -> tuple[str, ...]:
        """The students declared before the target: what a chain trains between pivot and target."""
        return self.students[: self.students.index(self.target)]

    def up_to(self, student: str) -> Group:
        """The chain that ends with a student, as its target."""
        students = self.students[: self.students.index(student) + 1]
        return Group(pivot=self.pivot, students=students, target=student)

    @property
    def teacher(self) -> str:
        """The pivot's name, for methods that need one."""
        if self.pivot is None:
            raise ValueError("this group has no pivot")
        return self.pivot


# --- recipes ----------------------------------------------------------------------------------


class Sgd(Strict):
    """Stochastic gradient descent; ``network_learning_rates`` overrides by architecture."""

    learning_rate: PositiveFloat
    network_learning_rates: dict[str, PositiveFloat]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegativeFloat
    nesterov: bool

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Sgd:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    def learning_rate_of(self, network: str) -> float:
        """The first epoch's learning rate of a network."""
        return self.network_learning_rates.get(architecture_of(network), self.learning_rate)


class StepSchedule(Strict):
    """The learning rate is multiplied by ``factor`` at the start of each milestone epoch."""

    milestones_epochs: tuple[PositiveInt, ...] = Field(strict=False)
    factor: PositiveFloat

    @model_validator(mode="after")
    def _milestones_ascend(self) -> StepSchedule:
        if list(self.milestones_epochs) != sorted(set(self.milestones_epochs)):
            raise ValueError(f"milestones_epochs must ascend, got {list(self.milestones_epochs)}")
        return self


class AugmentationConfig(Strict):
    """Zero padding in pixels on each side before a random crop; horizontal flip or not."""

    crop_padding: NonNegativeInt
    flip: bool


class Recipe(Strict):
    """How long, how fast and on what every method of a comparison trains.

    ``precision`` is that of a network's forward and backward pass in training; weights, losses and
    evaluations are float32 whatever it is. ``network_precisions`` overrides by architecture.
    ``compile`` makes networks faster, and rounds otherwise: by torch's compiler (``default``), by
    replaying steps as CUDA graphs (``graphs``, which rounds as before), or both. ``batch_norm``:
    with several processes, whether each normalises with the statistics of its own part of a batch
    (``process``) or with those of all of it (``batch``). ``pieces``: each process computes its part
    of a batch in so many, one after the other, for a small memory; gradients are of the whole,
    batch norm sees a piece.
    """

    epochs: PositiveInt
    batch_size: Annotated[int, Field(ge=2)]
    optimizer: Sgd
    schedule: StepSchedule
    augmentation: AugmentationConfig
    precision: Literal["fp32", "bf16"]
    network_precisions: dict[str, Literal["fp32", "bf16"]]
    compile: Literal["off", "default", "graphs", "default+graphs"]
    batch_norm: Literal["process", "batch"]
    pieces: PositiveInt
    deterministic: bool
    cpu_threads: PositiveInt | None

    @property
    def as_written(self) -> Recipe:
        """The same, neither compiled nor replayed: for counting what a step does."""
        return self.model_copy(update={"compile": "off"})


# --- tracking and the whole file --------------------------------------------------------------


class Tracking(Strict):
    """What MLflow is sent. Nothing here changes a result, and no stage depends on it.

    ``system_metrics_every_seconds``: how often processor, memory and GPU are sampled in a run that
    takes longer than five minutes; null for never.
    """

    enabled: bool
    role_changes: Literal["all", "none"]
    system_metrics_every_seconds: PositiveFloat | None = None


class CheckpointConfig(Strict):
    """How much of a run a kill can cost; a checkpoint is also written after each epoch.

    ``every_seconds`` is the longest time between two of them within an epoch. No stage depends on
    it: a run that was cut anywhere ends with the same bits.
    """

    every_seconds: NonNegativeFloat


class TrainConfig(Strict):
    """On how many processes of this machine a run trains, and how often they start again.

    Of every batch each process has an equal part. ``max_restarts``: when one of several has died,
    all are started again from the last checkpoint. No stage depends on either: a run may go on with
    another number of processes than it began with.
    """

    processes: PositiveInt
    max_restarts: NonNegativeInt


class LoaderConfig(Strict):
    """Who reads images that do not lie on the device; changes no batch, and no stage depends on it.

    ``workers``: processes that read; 0 for none besides the one that trains, null for one a
    processor that this process may use. ``prefetch_batches``: how many each of them is ahead.
    """

    workers: NonNegativeInt | None
    prefetch_batches: PositiveInt


class Params(Strict):
    """``params.yaml``."""

    data: dict[Name, DataConfig]
    groups: dict[Name, Group]
    recipes: dict[Name, Recipe]
    methods: dict[Name, MethodConfig]
    tracking: Tracking
    checkpoints: CheckpointConfig
    train: TrainConfig
    loader: LoaderConfig


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check ``params.yaml``.

    Raises:
        UserError: names the key, its value and what is allowed.
    """
    return parse(Params, read_yaml(path), where=str(path))
