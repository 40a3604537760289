"""Deep mutual learning (Zhang et al., CVPR 2018): everyone teaches everyone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from orc_repro.config import DmlConfig, Group, Sgd
from orc_repro.distill import losses
from orc_repro.distill.method import StepResult, count_correct
from orc_repro.distill.peers.members import Members


class Dml(Members):
    """Each network learns from the labels and from the mean divergence to its peers."""

    def __init__(
        self, config: DmlConfig, group: Group, networks: Mapping[str, nn.Module], optimizer: Sgd
    ) -> None:
        self.config = config
        super().__init__(config, group, networks, optimizer)

    def iterate(self, images: Tensor, labels: Tensor, draws: Mapping[str, Tensor]) -> StepResult:
        """H(y, P_k) + weight / (K-1) sum over l != k of T^2 KL(P_l || P_k).

        Sequential, as in the paper's Algorithm 1: a network's peers that were updated before it
        are asked again. With batch statistics, and without another update of these. Simultaneous:
        all learn from what all said before.
        """
        logits = self.answers_of(self.names, images)
        answers = {name: answer.detach() for name, answer in logits.items()}
        parts: dict[str, Tensor] = {}
        waiting: dict[str, Tensor] = {}
        for name in self.names:
            waiting[name] = self._loss(name, logits[name], labels, answers, parts)
            if self.config.order == "sequential":
                self.update([name], [waiting.pop(name)])
                if name != self.names[-1]:
                    answers[name] = self.ask_teacher(name, images, "batch")
        if waiting:
            self.update(list(waiting), list(waiting.values()))
        return StepResult(
            losses={part: loss.detach() for part, loss in parts.items()},
            correct={name: count_correct(logits[name], labels) for name in self.names},
        )

    def _loss(
        self,
        name: str,
        logits: Tensor,
        labels: Tensor,
        answers: Mapping[str, Tensor],
        parts: dict[str, Tensor],
    ) -> Tensor:
        temperature = self.config.temperature
        ce = parts[f"{name}/ce"] = losses.cross_entropy(logits, labels).mean()
        loss = ce
        terms = [
            losses.distillation(logits, losses.soft_targets(answer, temperature), temperature)
            for peer, answer in answers.items()
            if peer != name
        ]
        if terms:
            mean = parts[f"{name}/kd_peers"] = torch.stack(terms).mean()
            loss = ce + self.config.weight * mean
        parts[f"{name}/loss"] = loss
        return loss
