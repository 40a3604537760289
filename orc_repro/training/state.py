"""Everything a run needs to go on: one object of tensors and plain types.

Draws are functions of (seed, epoch) and the learning rate of the epoch, so their position is
``epoch`` and ``step``. torch's own generators are kept for layers that draw from them, as dropout
does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.utils._pytree import tree_map_only

from orc_repro.distill import Method
from orc_repro.processes.group import ALONE, Processes
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
        processes: how many trained it; more than one number where that changed under way.
    """

    epoch: NonNegativeInt = 0
    step: NonNegativeInt = 0
    seconds: NonNegativeFloat = 0.0
    history: list[dict[str, float]] = Field(default_factory=list)
    best: dict[str, Best] = Field(default_factory=dict)
    elected: dict[str, NonNegativeInt] = Field(default_factory=dict)
    role_changes: NonNegativeInt = 0
    not_finite: list[NotFinite] = Field(default_factory=list)
    processes: list[PositiveInt] = Field(default_factory=list)


class Own(_Checked):
    """What each process of a run has for itself; everything else all of them have alike.

    Attributes:
        meter: the sums of the epoch under way.
        statistics: running statistics by module and buffer; of the leader, the method has them.
        generators: torch's own.
    """

    meter: dict[str, Any]
    statistics: dict[str, dict[str, Tensor]]
    generators: dict[str, Tensor]


class State(_Checked):
    """A run at one instant, between two steps.

    Attributes:
        fingerprint: of the run.
        made_from: what the fingerprint is of, flat, so that a difference can be named.
        made_with: commit, versions and device; with others a run goes on, but rounds differently.
        progressed: where the run is, and what it has seen.
        method: networks, optimizers, roles, promotion memory.
        own: of each process, the leader first.
        marks: how much of each log belongs to it.
    """

    fingerprint: str
    made_from: dict[str, str]
    made_with: dict[str, str]
    progressed: Progressed
    method: dict[str, Any]
    own: list[Own] = Field(min_length=1)
    marks: dict[str, Mark]


def begin(seed: int, rank: int = 0) -> None:
    """Start torch's own generators, on every device; each process's apart."""
    torch.manual_seed(stream_seed(seed, "torch", *([rank] if rank else [])))


def own_of(method: Method, meter: Meter, leads: bool = True) -> Own:
    """What this process has for itself."""
    positions = {"cpu": torch.get_rng_state()}
    if meter.device.type == "cuda":
        positions["cuda"] = torch.cuda.get_rng_state(meter.device)
    found = Own(
        meter=meter.state_dict(),
        statistics={} if leads else method.statistics(),
        generators=positions,
    )
    # On the host: another process may have another device, or none of this one's number.
    return Own.model_validate(tree_map_only(Tensor, Tensor.cpu, found.model_dump()))


def restore(
    state: State, method: Method, meter: Meter, seed: int, processes: Processes = ALONE
) -> Progressed:
    """Put a run back to where a state says it was; a state from another device is moved.

    Another number of processes than before goes on from the same step: sums are added up, running
    statistics averaged, and a process that was not there before starts its generators.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: the state is not of this method.
    """
    method.load_state_dict(state.method)
    if len(state.own) == processes.count:
        own = state.own[processes.rank]
        _set_statistics(method, [own.statistics] if own.statistics else [])
        meter.load_state_dict(own.meter)
    else:
        others = [own.statistics for own in state.own[1:]]
        _set_statistics(method, [method.statistics(), *others] if others else [])
        merged = Meter.merged([own.meter for own in state.own], processes.count)
        meter.load_state_dict(merged[processes.rank])
    if processes.rank < len(state.own):
        _set_generators(state.own[processes.rank].generators, meter.device)
    else:
        begin(seed, processes.rank)
    for best in state.progressed.best.values():
        best.weights = {name: tensor.to(meter.device) for name, tensor in best.weights.items()}
    return state.progressed


@torch.no_grad()
def _set_statistics(method: Method, found: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
    """To the mean of what was found."""
    for name, buffers in method.statistics().items() if found else ():
        for buffer, tensor in buffers.items():
            values = [statistics[name][buffer].to(tensor.device) for statistics in found]
            same = len(values) == 1 or not tensor.is_floating_point()
            tensor.copy_(values[0] if same else torch.stack(values).mean(0))


def _set_generators(positions: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(positions["cpu"])
    if device.type == "cuda" and "cuda" in positions:
        torch.cuda.set_rng_state(positions["cuda"], device)
