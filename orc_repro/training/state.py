"""Everything a run needs to go on: one object of tensors and plain types.

Draws are functions of (seed, epoch) and the learning rate of the epoch, so their position is
``epoch`` and ``step``. torch's own generators are kept for layers that draw from them, as dropout
does.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor

from orc_repro.distill import Method
from orc_repro.tracking.runlog import Mark
from orc_repro.training.meter import Meter, NotFinite
from orc_repro.training.streams import stream_seed


class _Checked(BaseModel):
    """Strict, and may hold tensors."""

    model_config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)


class Best(_Checked):
    """The first epoch with a network's highest validation accuracy, and its weights then."""

    epoch: NonNegativeInt
    top1: float
    weights: dict[str, Tensor]


class Progressed(_Checked):
    """What the loop itself has to remember.

    Attributes:
        epoch: how many epochs are done.
        step: how many steps of the epoch under way are done.
        seconds: time spent on the epoch under way, over all its interruptions.
        history: the metrics of each epoch that is done.
        best: by network.
        elected: how often each student was temporary teacher, in epochs that are done.
        role_changes: likewise.
        not_finite: losses that went NaN or infinite, the first time each.
    """

    epoch: NonNegativeInt = 0
    step: NonNegativeInt = 0
    seconds: NonNegativeFloat = 0.0
    history: list[dict[str, float]] = Field(default_factory=list)
    best: dict[str, Best] = Field(default_factory=dict)
    elected: dict[str, NonNegativeInt] = Field(default_factory=dict)
    role_changes: NonNegativeInt = 0
    not_finite: list[NotFinite] = Field(default_factory=list)


class State(_Checked):
    """A run at one instant, between two steps.

    Attributes:
        fingerprint: of the run.
        made_from: what the fingerprint is of, flat, so that a difference can be named.
        made_with: commit, versions and device; with others a run goes on, but rounds differently.
        progressed: where the run is, and what it has seen.
        meter: the sums of the epoch under way.
        method: networks, optimizers, roles, promotion memory.
        generators: torch's own.
        marks: how much of each log belongs to it.
    """

    fingerprint: str
    made_from: dict[str, str]
    made_with: dict[str, str]
    progressed: Progressed
    meter: dict[str, Any]
    method: dict[str, Any]
    generators: dict[str, Tensor]
    marks: dict[str, Mark]


def begin(seed: int) -> None:
    """Start torch's own generators, on every device."""
    torch.manual_seed(stream_seed(seed, "torch"))


def generators(device: torch.device) -> dict[str, Tensor]:
    """The position of torch's own generators."""
    positions = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        positions["cuda"] = torch.cuda.get_rng_state(device)
    return positions


def restore(state: State, method: Method, meter: Meter) -> Progressed:
    """Put a run back to where a state says it was; a state from another device is moved.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: the state is not of this method.
    """
    device = meter.device
    method.load_state_dict(state.method)
    meter.load_state_dict(state.meter)
    torch.set_rng_state(state.generators["cpu"])
    if device.type == "cuda" and "cuda" in state.generators:
        torch.cuda.set_rng_state(state.generators["cuda"], device)
    for best in state.progressed.best.values():
        best.weights = {name: tensor.to(device) for name, tensor in best.weights.items()}
    return state.progressed
