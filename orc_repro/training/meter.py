"""An epoch's sums, kept on the device and fetched once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from orc_repro.distill import StepResult
from orc_repro.validation import Strict

FINITE = 2**31  # the "no step was bad" value of a first-bad-step tensor


class NotFinite(Strict):
    """A loss that became NaN or infinite: whose, and when it was first seen in the epoch."""

    network: str
    epoch: int
    step: int

    def __str__(self) -> str:
        return (
            f"the loss of {self.network} is not finite since epoch {self.epoch}, step {self.step}"
        )


class Meter:
    """Accumulates what an epoch's steps return; nothing is read back before :meth:`fetch`."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self._batch_size, self.device = batch_size, device
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()
        self._correct: dict[str, Tensor] = {}
        self._first_bad: dict[str, Tensor] = {}
        self._elected: Counter[str] = Counter()
        self._margin_sum, self._margins = 0.0, 0
        self.steps = self.elections = self.role_changes = 0

    def add(self, step: int, result: StepResult, role_changed: bool) -> None:
        """Add one step's losses, accuracies and election; ``step`` counts over the run."""
        self.steps += 1
        self.role_changes += role_changed
        for name, value in (result.losses | result.measures).items():
            self._counts[name] += 1
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            network, _, part = name.partition("/")
            if part == "loss":
                bad = torch.where(torch.isfinite(value), FINITE, step)
                before = self._first_bad.get(network, bad)
                self._first_bad[network] = torch.minimum(before, bad)
        for name, value in result.correct.items():
            self._correct[name] = self._correct.get(name, torch.zeros_like(value)) + value
        if result.roles is not None:
            self._elected.update(result.roles.temporary_teachers)
        self.elections += bool(result.scores)
        ranked = sorted(score for score in result.scores.values() if score == score)
        if len(ranked) > 1:
            self._margin_sum += ranked[1] - ranked[0]
            self._margins += 1

    def fetch(self, epoch: int) -> tuple[dict[str, float], list[NotFinite]]:
        """The epoch's means (accuracies in percent) and the losses that are not finite.

        This is the only place where an epoch's metrics leave the device.
        """
        if not self.steps:
            raise ValueError("no step was added")
        groups = (self._sums, self._correct, self._first_bad)
        values = torch.stack([v.double() for group in groups for v in group.values()]).tolist()
        sums, correct, first_bad = ({name: values.pop(0) for name in group} for group in groups)
        samples = self.steps * self._batch_size
        means = {name: total / self._counts[name] for name, total in sums.items()}
        means |= {f"{name}/train_top1": 100 * n / samples for name, n in correct.items()}
        bad = [
            NotFinite(network=name, epoch=epoch, step=int(step))
            for name, step in first_bad.items()
            if step < FINITE
        ]
        return means, bad

    @property
    def elected(self) -> dict[str, int]:
        """How often each network was temporary teacher."""
        return dict(self._elected)

    @property
    def mean_margin(self) -> float | None:
        """Mean score distance between the best and the second candidate."""
        return self._margin_sum / self._margins if self._margins else None

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, as tensors and plain types."""
        return {
            "sums": dict(self._sums),
            "counts": dict(self._counts),
            "correct": dict(self._correct),
            "first_bad": dict(self._first_bad),
            "elected": dict(self._elected),
            "margin": [self._margin_sum, self._margins],
            "steps": [self.steps, self.elections, self.role_changes],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; the sums are moved to this meter's device."""
        self._sums, self._correct, self._first_bad = (
            {name: value.to(self.device) for name, value in state[part].items()}
            for part in ("sums", "correct", "first_bad")
        )
        self._counts, self._elected = Counter(state["counts"]), Counter(state["elected"])
        self._margin_sum, self._margins = state["margin"]
        self.steps, self.elections, self.role_changes = state["steps"]
