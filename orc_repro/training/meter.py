"""An epoch's sums, kept on the device and fetched once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orc_repro.distill import StepResult
from orc_repro.processes.group import ALONE, Processes
from orc_repro.validation import Strict

_CORRECT = "correct"
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


@dataclass
class _Sums:
    """Of the steps whose figures had the same names; which there are depends on who taught whom.

    Attributes:
        total: float64 [names].
        first_bad: int64 [names], the first step with a value that is not finite; ``FINITE``.
        steps: how many.
    """

    total: Tensor
    first_bad: Tensor
    steps: int = 0


class Meter:
    """Accumulates what an epoch's steps return; nothing is read back before :meth:`fetch`.

    A step's figures are summed as one tensor, because on a GPU each operation is a launch.
    """

    def __init__(self, batch_size: int, device: torch.device, processes: Processes = ALONE) -> None:
        self._batch_size, self.device, self._processes = batch_size, device, processes
        self._sums: dict[tuple[str, ...], _Sums] = {}
        self._elected: Counter[str] = Counter()
        self._margin_sum, self._margins = 0.0, 0
        self.steps = self.elections = self.role_changes = 0

    def add(self, step: int, result: StepResult, role_changed: bool) -> None:
        """Add one step's losses, accuracies and election; ``step`` counts over the run."""
        self.steps += 1
        self.role_changes += role_changed
        correct = {f"{name}/{_CORRECT}": value for name, value in result.correct.items()}
        figures = result.losses | result.measures | correct
        names = tuple(figures)
        if names not in self._sums:
            self._sums[names] = self._nothing(len(names))
        sums = self._sums[names]
        values = torch.stack([value.double() for value in figures.values()])
        sums.steps += 1
        sums.total += values
        bad = torch.where(torch.isfinite(values), FINITE, step)
        torch.minimum(sums.first_bad, bad, out=sums.first_bad)
        if result.roles is not None:
            self._elected.update(result.roles.temporary_teachers)
        self.elections += bool(result.scores)
        ranked = sorted(score for score in result.scores.values() if score == score)
        if len(ranked) > 1:
            self._margin_sum += ranked[1] - ranked[0]
            self._margins += 1

    def fetch(self, epoch: int) -> tuple[dict[str, float], list[NotFinite]]:
        """The epoch's means (accuracies in percent) and the losses that are not finite.

        This is the only place where an epoch's metrics leave the device. Of several processes, each
        has seen its part of every batch, and all return what they saw together.
        """
        if not self.steps:
            raise ValueError("no step was added")
        # Copies: a run that is saved after this goes on with what each process saw.
        copies = [(sums.total.clone(), sums.first_bad.clone()) for sums in self._sums.values()]
        for summed, earliest in copies:
            self._processes.add_up(summed)
            self._processes.least(earliest)
        read = torch.cat([part.double() for pair in copies for part in pair]).tolist()
        totals: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        first_bad: dict[str, int] = {}
        for names, sums in self._sums.items():
            found, bad = (([read.pop(0) for _ in names]) for _ in range(2))
            for name, total, step in zip(names, found, bad, strict=True):
                totals[name] += total
                counts[name] += sums.steps
                network, _, part = name.partition("/")
                if part == "loss" and step < FINITE:
                    first_bad[network] = min(int(step), first_bad.get(network, FINITE))
        means = {}
        for name, total in totals.items():
            network, _, part = name.partition("/")
            if part == _CORRECT:
                means[f"{network}/train_top1"] = 100 * total / (counts[name] * self._batch_size)
            else:
                means[name] = total / (counts[name] * self._processes.count)
        return means, [
            NotFinite(network=network, epoch=epoch, step=step)
            for network, step in first_bad.items()
        ]

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
            "sums": [
                {"names": list(names), "total": s.total, "first_bad": s.first_bad, "steps": s.steps}
                for names, s in self._sums.items()
            ],
            "elected": dict(self._elected),
            "margin": [self._margin_sum, self._margins],
            "steps": [self.steps, self.elections, self.role_changes],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; the sums are moved to this meter's device."""
        self._sums = {}
        for saved in state["sums"]:
            sums = self._sums[tuple(saved["names"])] = self._nothing(len(saved["names"]))
            sums.total.copy_(saved["total"])
            sums.first_bad.copy_(saved["first_bad"])
            sums.steps = int(saved["steps"])
        self._elected = Counter(state["elected"])
        self._margin_sum, self._margins = state["margin"]
        self.steps, self.elections, self.role_changes = state["steps"]

    @staticmethod
    def merged(states: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
        """The sums of processes as those of ``count`` others: all with the first of them.

        Means over a process's part are scaled, as :meth:`fetch` divides by the number of processes.
        """
        first = dict(states[0])
        first["sums"] = []
        for parts in zip(*(state["sums"] for state in states), strict=True):
            total = torch.stack([part["total"].cpu() for part in parts]).sum(0)
            counted = [name.endswith(f"/{_CORRECT}") for name in parts[0]["names"]]
            scales = [1.0 if is_count else count / len(states) for is_count in counted]
            total *= torch.tensor(scales, dtype=torch.float64)
            bad = torch.stack([part["first_bad"].cpu() for part in parts]).amin(0)
            first["sums"].append(parts[0] | {"total": total, "first_bad": bad})
        nothing = [
            s | {"total": torch.zeros_like(s["total"]), "first_bad": s["first_bad"]}
            for s in first["sums"]
        ]
        return [first, *(first | {"sums": nothing} for _ in range(count - 1))]

    def _nothing(self, names: int) -> _Sums:
        total = torch.zeros(names, dtype=torch.float64, device=self.device)
        return _Sums(total, torch.full((names,), FINITE, device=self.device))
