"""ONE: branches of one network on a shared trunk, taught by their gated ensemble.

Lan, Zhu and Gong, "Knowledge Distillation by On-the-Fly Native Ensemble", NeurIPS 2018. Two things
are ours: distillation has one weight throughout, where the authors' code lets it grow over the
first 80 epochs; and where a network other than a ResNet is cut (see :func:`last_stage_of`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from orc_repro.config import AnyMethod, Group, OneConfig, Sgd
from orc_repro.distill import losses
from orc_repro.distill.method import Method, StepResult, count_correct
from orc_repro.distill.peers.ensembles import taught
from orc_repro.errors import UserError
from orc_repro.models.layers import Classifier


class Gate(nn.Module):
    """How much each branch counts: pooled features [B, width] -> weights [B, branches], sum 1."""

    def __init__(self, width: int, branches: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, branches), nn.BatchNorm1d(branches), nn.ReLU())

    def forward(self, pooled: Tensor) -> Tensor:
        weights: Tensor = self.score(pooled).softmax(dim=1)
        return weights


class One(Method):
    """Several copies of the target whose lower layers are the same modules.

    Each stays a whole network, to be evaluated and saved alone. The lower layers learn with the
    target, from the gradient of every branch.
    """

    takes_pieces = False

    def __init__(
        self, config: OneConfig, group: Group, networks: Mapping[str, nn.Module], optimizer: Sgd
    ) -> None:
        self.config, self.target = config, group.target
        self.names = self.networks_of(group, config)
        branches = {name: _branching(name, networks[name]) for name in self.names}
        target = branches[self.target]
        self.cut = last_stage_of(target.features)
        for branch in branches.values():
            for index in range(self.cut):
                branch.features[index] = target.features[index]
        self.branches = branches
        # The same for every seed: what differs between seeds are the branches it weighs.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.gate = Gate(width_at(target.features, self.cut), config.branches)
        self.gate.to(target.head.weight.device)
        super().__init__(networks, trained=self.names, optimizer=optimizer)

    @classmethod
    def networks_of(cls, group: Group, config: AnyMethod) -> tuple[str, ...]:
        """The target, and its further branches under names of their own."""
        assert isinstance(config, OneConfig)
        further = range(2, config.branches + 1)
        return (group.target, *(f"{group.target}.branch{number}" for number in further))

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The branches and the gate."""
        return self.networks | {"gate": self.gate}

    def parameters_of(self, name: str) -> Iterable[nn.Parameter]:
        """Lower layers and gate are learned once, with the target."""
        branch = self.branches[name]
        if name == self.target:
            return [*branch.parameters(), *self.gate.parameters()]
        return [*branch.features[self.cut :].parameters(), *branch.head.parameters()]

    def iterate(self, images: Tensor, labels: Tensor, draws: Mapping[str, Tensor]) -> StepResult:
        """H(y, P_e) + sum over branches of H(y, P_i) + weight T^2 KL(P_e || P_i), where
        P_e is of the logits that the gate weighs.
        """
        with self.execution.precision(self.target):
            shared = self.branches[self.target].features[: self.cut](images)
            logits = {}
            for name, branch in self.branches.items():
                features = branch.features[self.cut :](shared)
                logits[name] = branch.head(features.mean(dim=(2, 3)))
            weights = self.gate(shared.mean(dim=(2, 3)))  # [B, branches]
        stacked = torch.stack(list(logits.values()), dim=1)  # [B, branches, C]
        ensemble = (losses.upcast(weights).unsqueeze(2) * losses.upcast(stacked)).sum(dim=1)
        ensemble_ce = losses.cross_entropy(ensemble, labels).mean()
        parts = taught(logits, labels, ensemble, self.config)
        own = torch.stack([parts[f"{name}/loss"] for name in self.names]).sum()
        self.update(self.names, [ensemble_ce + own])
        return StepResult(
            losses={part: loss.detach() for part, loss in parts.items()},
            correct={name: count_correct(logits[name], labels) for name in self.names},
            measures={
                "ensemble/ce": ensemble_ce.detach(),
                "ensemble/gate_of_target": weights.detach()[:, 0].mean(),
            },
        )

    def state_dict(self) -> dict[str, Any]:
        """The base's, with the gate."""
        return super().state_dict() | {"gate": self.gate.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        super().load_state_dict(state)
        self.gate.load_state_dict(state["gate"])


def last_stage_of(features: nn.Sequential) -> int:
    """The index of the last module that makes images smaller: where branches begin.

    For a ResNet that is its last stage, as in the paper.
    """
    cuts = [
        index
        for index, module in enumerate(features)
        for part in module.modules()
        if isinstance(part, nn.Conv2d | nn.MaxPool2d) and part.stride not in (1, (1, 1))
    ]
    return max(cuts)


def _branching(name: str, network: nn.Module) -> Classifier:
    if isinstance(network, Classifier):
        return network
    raise UserError(f"one cannot branch {name}: it needs a network for small images")


def width_at(features: nn.Sequential, cut: int) -> int:
    """Channels of what a cut hands on: those that the first convolution behind it takes.

    Not those of the last layer before it, which in a ShuffleNet makes only some of them.
    """
    parts = (part for module in list(features)[cut:] for part in module.modules())
    return next(part for part in parts if isinstance(part, nn.Conv2d)).in_channels
