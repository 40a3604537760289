"""Training alone, by cross-entropy: what every other method has to beat."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from orc_repro.config import AnyMethod, CeConfig, Group, Sgd
from orc_repro.distill import losses
from orc_repro.distill.method import Method, StepResult, count_correct


class Ce(Method):
    """One network, one loss."""

    def __init__(
        self, config: CeConfig, group: Group, networks: Mapping[str, nn.Module], optimizer: Sgd
    ) -> None:
        self.target = group.target
        super().__init__(networks, trained=[self.target], optimizer=optimizer)

    @classmethod
    def networks_of(cls, group: Group, config: AnyMethod) -> tuple[str, ...]:
        """The target alone."""
        return (group.target,)

    def iterate(self, images: Tensor, labels: Tensor, draws: Mapping[str, Tensor]) -> StepResult:
        """H(y, P(x))."""
        logits = self.forward(self.target, images)
        loss = losses.cross_entropy(logits, labels).mean()
        self.update([self.target], [loss])
        return StepResult(
            losses={f"{self.target}/loss": loss.detach(), f"{self.target}/ce": loss.detach()},
            correct={self.target: count_correct(logits, labels)},
        )
