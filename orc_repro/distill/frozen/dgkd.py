"""Densely guided distillation (Son et al., "Densely Guided Knowledge Distillation using Multiple
Teacher Assistants", ICCV 2021): the target is taught by the pivot and every assistant.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from orc_repro.config import AnyMethod, DgkdConfig, Group
from orc_repro.distill.frozen.kd import Kd


class Dgkd(Kd):
    """The assistants were trained in the same way, each by all that are larger."""

    @classmethod
    def teachers_of(cls, group: Group) -> tuple[str, ...]:
        """The pivot and all assistants."""
        return (group.teacher, *group.assistants)

    @classmethod
    def for_assistants(cls, config: AnyMethod) -> AnyMethod:
        """Nothing is dropped but for the last student."""
        return config.model_copy(update={"drop_probability": 0.0})

    def draw_epoch(
        self, steps: int, batch_size: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Which assistants teach: a draw from [0, 1) for each, [steps, assistants]."""
        return {"assistants": torch.rand(steps, len(self.teachers) - 1, generator=generator)}

    def weigh(self, ce: Tensor, terms: list[Tensor], draws: Mapping[str, Tensor]) -> Tensor:
        """(n+1)(1-lambda) H(y, P_S) + lambda (L_pivot + sum of b_i L_i) over n assistants.

        b_i is 0 with the drop probability, else 1. The pivot's term and cross-entropy always stay.
        """
        assert isinstance(self.config, DgkdConfig)
        beta = self.config.beta
        kept = draws["assistants"] >= self.config.drop_probability
        kept = torch.cat([kept.new_ones(1), kept])
        return len(terms) * (1 - beta) * ce + beta * (torch.stack(terms) * kept).sum()
