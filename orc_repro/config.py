"""``params.yaml`` as frozen, strict models.

Every parameter that can change a result is written out in ``params.yaml``; none has a default
here, so that ``dvc params diff`` tells the whole difference between two experiments. An unknown
key, a wrong type or a value out of range stops at once. Why each value is what it is:
``docs/method.md``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from orc_repro.data_config import (
    CifarData,
    DataConfig,
    DigitsData,
    FolderData,
    ImagenetData,
    Shards,
)
from orc_repro.group_config import Group, architecture_of
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
from orc_repro.ranges import MOST_PROCESSES, Processes, Seconds
from orc_repro.recipe_config import AugmentationConfig, Recipe, Sgd, StepSchedule
from orc_repro.validation import Key, Strict, parse
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


class Tracking(Strict):
    """What MLflow is sent. Nothing here changes a result, and no stage depends on it.

    ``system_metrics_every_seconds``: how often processor, memory and GPU are sampled in a run that
    takes longer than five minutes; null for never.
    """

    enabled: bool
    role_changes: Literal["all", "none"]
    system_metrics_every_seconds: Annotated[Seconds, Field(ge=0.1)] | None = None


class CheckpointConfig(Strict):
    """How much of a run a kill can cost; a checkpoint is also written after each epoch.

    ``every_seconds`` is the longest time between two of them within an epoch. No stage depends on
    it: a run that was cut anywhere ends with the same bits.
    """

    every_seconds: Seconds


class TrainConfig(Strict):
    """On how many processes of this machine a run trains, and how often they start again.

    Of every batch each process has an equal part. ``max_restarts``: when one of several has died,
    all are started again from the last checkpoint. No stage depends on either: a run may go on with
    another number of processes than it began with.
    """

    processes: Processes
    max_restarts: Annotated[int, Field(ge=0, le=1000)]


class LoaderConfig(Strict):
    """Who reads images that do not lie on the device; changes no batch, and no stage depends on it.

    ``workers``: processes that read; 0 for none besides the one that trains, null for one a
    processor that this process may use. ``prefetch_batches``: how many each of them is ahead.
    """

    workers: Annotated[int, Field(ge=0, le=MOST_PROCESSES)] | None
    prefetch_batches: Annotated[int, Field(ge=1, le=1000)]


class Params(Strict):
    """``params.yaml``."""

    data: dict[Key, DataConfig]
    groups: dict[Key, Group]
    recipes: dict[Key, Recipe]
    methods: dict[Key, MethodConfig]
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
