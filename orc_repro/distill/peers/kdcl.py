"""KDCL: an ensemble of the networks that learn together teaches each of them.

Guo et al., "Online Knowledge Distillation via Collaborative Learning", CVPR 2020. Two things are
ours: every network sees the same augmentation of an image, where the paper gives each its own; and
the weights of the general ensemble come from an epoch's training batches, each before it was
learned from, where the paper measures on images set aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from orc_repro.config import Group, KdclConfig, Sgd
from orc_repro.distill import losses
from orc_repro.distill.method import StepResult, count_correct
from orc_repro.distill.peers import ensembles
from orc_repro.distill.peers.members import Members


class Kdcl(Members):
    """H(y, P_k) + weight T^2 KL(P_ensemble || P_k) for every network k."""

    def __init__(
        self, config: KdclConfig, group: Group, networks: Mapping[str, nn.Module], optimizer: Sgd
    ) -> None:
        self.config = config
        super().__init__(config, group, networks, optimizer)
        device = next(self.networks[self.names[0]].parameters()).device
        count = len(self.names)
        self.weights = torch.full((count,), 1 / count, device=device)
        self.products = torch.zeros(count, count, dtype=torch.float64, device=device)
        self.seen = self.steps = 0

    @property
    def can_be_replayed(self) -> bool:
        """Not where the host counts the batches that weigh the ensemble."""
        return self.config.ensemble != "general"

    def draw_epoch(
        self, steps: int, batch_size: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Nothing is drawn; an epoch's length is when the general ensemble is weighed anew."""
        self.steps = steps
        return {}

    def iterate(self, images: Tensor, labels: Tensor, draws: Mapping[str, Tensor]) -> StepResult:
        """One forward each, the ensemble of what was said, one update of all."""
        logits = self.answers_of(self.names, images)
        with torch.no_grad():
            ensemble = self._ensemble(losses.upcast(torch.stack(list(logits.values()))), labels)
        parts = ensembles.taught(logits, labels, ensemble, self.config)
        self.update(self.names, [parts[f"{name}/loss"] for name in self.names])
        return StepResult(
            losses={part: loss.detach() for part, loss in parts.items()},
            correct={name: count_correct(logits[name], labels) for name in self.names},
            measures={"ensemble/ce": losses.cross_entropy(ensemble, labels).mean()},
        )

    def _ensemble(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.config.ensemble == "naive":
            return ensembles.naive(logits, labels)
        if self.config.ensemble == "minlogit":
            return ensembles.minlogit(logits, labels)
        if self.config.ensemble == "linear":
            return ensembles.linear(logits, labels)
        weights = self.weights
        products = ensembles.error_products(logits, labels)
        self.products = self.products + self.execution.processes.mean_of(products)
        self.seen += 1
        # Here and not at an epoch's start, which a resumed run sees twice.
        if self.seen == self.steps:
            self.weights = ensembles.general_weights(self.products / self.seen)
            self.products, self.seen = torch.zeros_like(self.products), 0
        return ensembles.general(logits, weights)

    def state_dict(self) -> dict[str, Any]:
        """The base's, with what the general ensemble remembers."""
        memory = {"weights": self.weights, "products": self.products, "seen": self.seen}
        return super().state_dict() | {"ensemble": memory}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        super().load_state_dict(state)
        memory = state["ensemble"]
        self.weights = memory["weights"].to(self.weights)
        self.products = memory["products"].to(self.products)
        self.seen = int(memory["seen"])
