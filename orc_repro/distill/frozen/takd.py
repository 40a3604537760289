"""Teacher assistants (Mirzadeh et al., "Improved Knowledge Distillation via Teacher Assistant",
AAAI 2020): a chain from the pivot to the target, each network taught by the one before it.
"""

from __future__ import annotations

from orc_repro.config import Group
from orc_repro.distill.frozen.kd import Kd


class Takd(Kd):
    """One link: the target is taught by the assistant before it, as that was trained.

    The group's students up to the target are the chain, in their order. In a group without
    assistants this is :class:`Kd`.
    """

    @classmethod
    def teachers_of(cls, group: Group) -> tuple[str, ...]:
        """The last assistant; the pivot if there is none."""
        return (group.teacher, *group.assistants)[-1:]
