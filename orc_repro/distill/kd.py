"""Knowledge distillation from one frozen teacher (Hinton, Vinyals and Dean, 2015)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from orc_repro.config import Group, KdConfig, Sgd
from orc_repro.distill import losses
from orc_repro.distill.method import Method, StepResult, ask_teacher, count_correct
from orc_repro.distill.roles import Roles


class Kd(Method):
    """The pivot teaches the target and is never changed."""

    def __init__(
        self, config: KdConfig, group: Group, networks: Mapping[str, nn.Module], optimizer: Sgd
    ) -> None:
        self.config, self.pivot, self.target = config, group.teacher, group.target
        self.roles = Roles(self.pivot, (), (self.target,))
        super().__init__(networks, trained=[self.target], optimizer=optimizer)

    @classmethod
    def networks_of(cls, group: Group) -> tuple[str, ...]:
        """The pivot and the target."""
        return (group.teacher, group.target)

    @classmethod
    def teachers_of(cls, group: Group) -> tuple[str, ...]:
        """The pivot."""
        return (group.teacher,)

    def step(self, images: Tensor, labels: Tensor, draws: Mapping[str, Tensor]) -> StepResult:
        """(1-beta) H(y, P_S) + beta T^2 KL(P_pivot || P_S)."""
        beta, temperature = self.config.beta, self.config.temperature
        answer = ask_teacher(self.networks[self.pivot], images)
        logits = self.networks[self.target](images)
        ce = losses.cross_entropy(logits, labels).mean()
        kd = losses.distillation(logits, losses.soft_targets(answer, temperature), temperature)
        loss = (1 - beta) * ce + beta * kd
        self.update([self.target], [loss])
        return StepResult(
            losses={
                f"{self.target}/loss": loss.detach(),
                f"{self.target}/ce": ce.detach(),
                f"{self.target}/kd_pivot": kd.detach(),
            },
            correct={self.target: count_correct(logits, labels)},
            roles=self.roles,
        )
