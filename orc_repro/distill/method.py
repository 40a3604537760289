"""What every method offers the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from orc_repro.config import AnyMethod, Group, Sgd
from orc_repro.distill.execution import Execution
from orc_repro.distill.roles import Roles


@dataclass(frozen=True)
class StepResult:
    """What one iteration left behind; tensors stay on the device and carry no gradient.

    Attributes:
        losses: scalars named ``<network>/<part>``; ``<network>/loss`` is what was minimised.
        correct: number of correctly classified samples by network, from the logits that trained.
        measures: further scalars named as they are to be logged.
        roles: who was what in this iteration; None for a method without roles.
        scores: what the election saw (host numbers, the lowest won); empty without election.
    """

    losses: dict[str, Tensor]
    correct: dict[str, Tensor]
    measures: dict[str, Tensor] = field(default_factory=dict)
    roles: Roles | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


class Method(ABC):
    """Owns its networks and their optimizers for a run.

    Attributes:
        networks: every network that is evaluated and saved, by name, the target's among them.
        optimizers: one a trained network; a network without one is frozen.
        learning_rate_scales: what a network's scheduled learning rate is multiplied by.
        roles: who is what now; None for a method without roles.
        execution: how its networks compute.
        host_decides: whether the host looks at figures within an iteration, which is then made of
            phases; else all of it is one.
        takes_pieces: whether all its networks are asked by :meth:`forward` and
            :meth:`ask_teacher`, and no batch norm is beside them: what a batch in pieces needs, and
            batch norm over all processes.
    """

    roles: Roles | None = None
    host_decides: ClassVar[bool] = False
    takes_pieces: ClassVar[bool] = True

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        trained: Sequence[str],
        optimizer: Sgd,
        learning_rate_scales: Mapping[str, float] | None = None,
    ) -> None:
        self.networks = dict(networks)
        self.execution = Execution()
        self._rates = {name: optimizer.learning_rate_of(name) for name in trained}
        self.learning_rate_scales = {name: 1.0 for name in trained} | dict(
            learning_rate_scales or {}
        )
        for name, network in self.networks.items():
            network.requires_grad_(name in trained)
        self.optimizers = {
            name: torch.optim.SGD(
                self.parameters_of(name),
                lr=self._rates[name],
                momentum=optimizer.momentum,
                weight_decay=optimizer.weight_decay,
                nesterov=optimizer.nesterov,
                fused=True,  # a quarter of the loop's time; now and then another last bit
            )
            for name in trained
        }

    def parameters_of(self, name: str) -> Iterable[nn.Parameter]:
        """What a network's optimizer updates; all of the network by default."""
        return self.networks[name].parameters()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Everything with weights or running statistics: the networks, and what is beside them."""
        return self.networks

    @property
    def drawn_per_image(self) -> frozenset[str]:
        """Those of an epoch's draws that have a number for each image, [steps, B]."""
        return frozenset()

    def statistics(self) -> dict[str, dict[str, Tensor]]:
        """The running statistics of everything that learns, by module and buffer."""
        return {
            name: dict(module.named_buffers())
            for name, module in self.modules.items()
            if name not in self.networks or name in self.optimizers
        }

    @classmethod
    @abstractmethod
    def networks_of(cls, group: Group, config: AnyMethod) -> tuple[str, ...]:
        """The names of the networks this method trains or asks, in the order they are logged."""

    @classmethod
    def teachers_of(cls, group: Group) -> tuple[str, ...]:
        """Those of them that are trained beforehand: the pivot, alone; a student, by this method
        as the target of the group up to itself. None by default.
        """
        return ()

    @classmethod
    def for_assistants(cls, config: AnyMethod) -> AnyMethod:
        """The configuration under which this method's assistants are trained; the same."""
        return config

    @property
    def can_be_replayed(self) -> bool:
        """Whether an iteration does nothing on the host but choose between phases."""
        return True

    def step(self, images: Tensor, labels: Tensor, draws: Mapping[str, Tensor]) -> StepResult:
        """One iteration on images [B, C, H, W] and labels [B]; updates networks.

        Args:
            draws: this iteration's slice of what :meth:`draw_epoch` made, on the device.

        Returns:
            tensors that the next step may write anew.
        """
        images, labels, draws = self.execution.inputs((images, labels, draws))
        if self.host_decides:
            return self.iterate(images, labels, draws)
        return self.execution.phase("iteration", self.iterate, images, labels, draws)

    @abstractmethod
    def iterate(self, images: Tensor, labels: Tensor, draws: Mapping[str, Tensor]) -> StepResult:
        """What a method is: :meth:`step`, from the iteration's own tensors."""

    def forward(self, name: str, images: Tensor) -> Tensor:
        """The logits [B, C] of a network that learns."""
        logits = self.execution.forward(name, self.networks[name], images)
        if self.execution.must_prepare:
            self.ask_teacher(name, images, "batch")
        return logits

    def answers_of(self, names: Sequence[str], images: Tensor) -> dict[str, Tensor]:
        """The logits [B, C] of networks that learn and do not wait for each other, by name."""
        return self.execution.side_by_side(
            {name: partial(self.forward, name, images) for name in names}
        )

    def ask_teacher(self, name: str, images: Tensor, batch_norm: str = "running") -> Tensor:
        """A teacher's logits [B, C]: no gradient, no change of statistics, mode as before.

        ``batch_norm="running"`` normalises with running statistics (evaluation mode), ``"batch"``
        with this batch's.
        """
        with as_teacher(self.networks[name], batch_norm):
            return self.execution.forward(name, self.networks[name], images)

    def draw_epoch(
        self, steps: int, batch_size: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """An epoch's random numbers, each [steps, ...], from a CPU generator; none by default."""
        return {}

    def set_learning_rate(self, factor: float) -> None:
        """Set every optimizer to ``factor`` times its network's own learning rate."""
        for name, optimizer in self.optimizers.items():
            rate = self._rates[name] * factor * self.learning_rate_scales[name]
            for group in optimizer.param_groups:
                self.execution.set_learning_rate(group, rate)

    def train(self) -> None:
        """Training mode for what is trained, evaluation mode for what is frozen."""
        for name, network in self.networks.items():
            network.train(name in self.optimizers)

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs, as tensors and plain types."""
        return {
            "networks": {name: net.state_dict() for name, net in self.networks.items()},
            "optimizers": {name: opt.state_dict() for name, opt in self.optimizers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    def update(self, names: Sequence[str], losses: Sequence[Tensor]) -> None:
        """One backward pass and one optimizer step of each named network.

        With several processes the gradients of all named networks are averaged in one collective:
        it is the same for any method, whatever its networks share or have beside them.

        Only these networks' gradients exist afterwards and before: a gradient of zeros, unlike
        None, would let momentum and weight decay move a network that was not taught.
        """
        torch.autograd.backward(list(losses), retain_graph=self.execution.keeps_answers)
        self._average_gradients(names)
        for name in names:
            with self.execution.changing(self.parameters_of(name)):
                self.optimizers[name].step()
            self.optimizers[name].zero_grad(set_to_none=True)

    def _average_gradients(self, names: Sequence[str]) -> None:
        processes = self.execution.processes
        if processes.count > 1:
            learning = {id(p): p for name in names for p in self.parameters_of(name)}
            processes.average([p.grad for p in learning.values() if p.grad is not None])


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of B logits [B, C] have their maximum at the label; int64 []."""
    return (logits.detach().argmax(dim=1) == labels).sum()


@contextmanager
def as_teacher(network: nn.Module, batch_norm: str) -> Iterator[None]:
    """No gradient, no change of statistics, mode as before; see :meth:`Method.ask_teacher`."""
    was_training = network.training
    network.train(batch_norm == "batch")
    frozen = _statistics_frozen(network) if batch_norm == "batch" else nullcontext()
    try:
        with torch.no_grad(), frozen:
            yield
    finally:
        network.train(was_training)


@contextmanager
def _statistics_frozen(network: nn.Module) -> Iterator[None]:
    """Batch statistics used, running statistics (and their count of batches) left alone."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    tracking = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, tracked in zip(norms, tracking, strict=True):
            norm.track_running_stats = tracked
