"""Knowledge distillation from frozen teachers (Hinton, Vinyals and Dean, 2015)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from orc_repro.config import AnyMethod, DgkdConfig, Group, KdConfig, Sgd, TakdConfig
from orc_repro.distill import losses
from orc_repro.distill.method import Method, StepResult, count_correct
from orc_repro.distill.roles import Roles


class Kd(Method):
    """The pivot teaches the target and is never changed."""

    def __init__(
        self,
        config: KdConfig | TakdConfig | DgkdConfig,
        group: Group,
        networks: Mapping[str, nn.Module],
        optimizer: Sgd,
    ) -> None:
        self.config, self.target, self.pivot = config, group.target, group.teacher
        self.teachers = self.teachers_of(group)
        if self.pivot in self.teachers:
            self.roles = Roles(self.pivot, (), (self.target,))
        super().__init__(networks, trained=[self.target], optimizer=optimizer)

    @classmethod
    def networks_of(cls, group: Group, config: AnyMethod) -> tuple[str, ...]:
        """The teachers and the target."""
        return (*cls.teachers_of(group), group.target)

    @classmethod
    def teachers_of(cls, group: Group) -> tuple[str, ...]:
        """The pivot."""
        return (group.teacher,)

    def iterate(self, images: Tensor, labels: Tensor, draws: Mapping[str, Tensor]) -> StepResult:
        """Cross-entropy and T^2 KL(P_teacher || P_S) of each teacher, weighed by `weigh`."""
        temperature = self.config.temperature
        logits = self.forward(self.target, images)
        ce = losses.cross_entropy(logits, labels).mean()
        terms = {}
        for name in self.teachers:
            answer = self.ask_teacher(name, images)
            targets = losses.soft_targets(answer, temperature)
            terms[name] = losses.distillation(logits, targets, temperature)
        loss = self.weigh(ce, list(terms.values()), draws)
        self.update([self.target], [loss])
        parts = {"loss": loss, "ce": ce}
        if self.pivot in terms:
            parts["kd_pivot"] = terms.pop(self.pivot)
        if terms:
            parts["kd_assistants"] = torch.stack(list(terms.values())).sum()
        return StepResult(
            losses={f"{self.target}/{part}": value.detach() for part, value in parts.items()},
            correct={self.target: count_correct(logits, labels)},
            roles=self.roles,
        )

    def weigh(self, ce: Tensor, terms: list[Tensor], draws: Mapping[str, Tensor]) -> Tensor:
        """(1-beta) H(y, P_S) + beta T^2 KL(P_teacher || P_S): one teacher, one term."""
        (term,) = terms
        return (1 - self.config.beta) * ce + self.config.beta * term
