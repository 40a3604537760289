"""What the online methods have in common: who takes part, and that nobody is a teacher."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from orc_repro.config import AnyMethod, DmlConfig, Group, KdclConfig, Sgd
from orc_repro.distill.method import Method


class Members(Method):
    """Networks that all learn, from random weights, each with an optimizer of its own.

    Of a group with a pivot its architecture takes part, untrained, if ``members`` is ``group``.
    """

    def __init__(
        self,
        config: DmlConfig | KdclConfig,
        group: Group,
        networks: Mapping[str, nn.Module],
        optimizer: Sgd,
    ) -> None:
        self.names = self.networks_of(group, config)
        super().__init__(networks, trained=self.names, optimizer=optimizer)

    @classmethod
    def networks_of(cls, group: Group, config: AnyMethod) -> tuple[str, ...]:
        """Those that take part."""
        assert isinstance(config, DmlConfig | KdclConfig)
        if config.members == "students" or group.pivot is None:
            return group.students
        return (group.pivot, *group.students)
