"""The learning rate as a pure function of the epoch, so that a resumed run cannot drift."""

from __future__ import annotations

from collections.abc import Sequence


def learning_rate_factor(epoch: int, milestones_epochs: Sequence[int], factor: float) -> float:
    """``factor`` to the power of the milestones reached; epochs count from 0."""
    return float(factor ** sum(epoch >= milestone for milestone in milestones_epochs))
