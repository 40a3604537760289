"""How ``params.yaml`` says that networks are trained; see ``orc_repro/config.py``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from orc_repro.group_config import architecture_of
from orc_repro.ranges import (
    LARGEST_BATCH,
    LARGEST_RATE,
    Batch,
    Decay,
    Epochs,
    Rate,
    RateOrNone,
    Threads,
)
from orc_repro.validation import Strict


class Sgd(Strict):
    """Stochastic gradient descent; ``network_learning_rates`` overrides by architecture."""

    learning_rate: Rate
    network_learning_rates: dict[str, Rate]
    momentum: Decay
    weight_decay: RateOrNone
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

    milestones_epochs: tuple[Epochs, ...] = Field(strict=False, max_length=100)
    factor: Annotated[float, Field(gt=0, le=10)]

    @model_validator(mode="after")
    def _milestones_ascend(self) -> StepSchedule:
        if list(self.milestones_epochs) != sorted(set(self.milestones_epochs)):
            raise ValueError(f"milestones_epochs must ascend, got {list(self.milestones_epochs)}")
        return self


class AugmentationConfig(Strict):
    """Zero padding in pixels on each side before a random crop; horizontal flip or not."""

    crop_padding: Annotated[int, Field(ge=0, le=64)]
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

    epochs: Epochs
    batch_size: Batch
    optimizer: Sgd
    schedule: StepSchedule
    augmentation: AugmentationConfig
    precision: Literal["fp32", "bf16"]
    network_precisions: dict[str, Literal["fp32", "bf16"]]
    compile: Literal["off", "default", "graphs", "default+graphs"]
    batch_norm: Literal["process", "batch"]
    pieces: Annotated[int, Field(ge=1, le=LARGEST_BATCH)]
    deterministic: bool
    cpu_threads: Threads | None

    @model_validator(mode="after")
    def _learning_rates_have_an_end(self) -> Recipe:
        rates = (self.optimizer.learning_rate, *self.optimizer.network_learning_rates.values())
        growth = max(1.0, self.schedule.factor ** len(self.schedule.milestones_epochs))
        if max(rates) * growth > LARGEST_RATE:
            raise ValueError(
                f"the schedule takes the learning rate to {max(rates) * growth:g}; it must be"
                f" {LARGEST_RATE:g} at most"
            )
        return self

    @property
    def as_written(self) -> Recipe:
        """The same, neither compiled nor replayed: for counting what a step does."""
        return self.model_copy(update={"compile": "off"})
