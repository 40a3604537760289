"""ORC: network group-based knowledge distillation using online role change.

One iteration reads as section 3 of the paper: the students say what they get wrong, the pivot
learns from it (intensive teaching), the best student is promoted and taught by the pivot (private
teaching), both teach the rest (group teaching). What the paper leaves open is a field of
``OrcConfig``; ``docs/method.md`` says why each has the value it has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from orc_repro.config import AnyMethod, Group, OrcConfig, Sgd
from orc_repro.distill import losses
from orc_repro.distill.host_read import HostRead
from orc_repro.distill.method import Method, StepResult, count_correct
from orc_repro.distill.orc.feedback import draw_partners, feedback_probabilities
from orc_repro.distill.orc.phases import Answers, Taught
from orc_repro.distill.roles import Memory, Roles, elect, score_students


def depth_of(network: nn.Module) -> tuple[int, int]:
    """Number of convolutions and linear layers; then of parameters, where two are as deep."""
    layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in network.modules())
    return layers, sum(parameter.numel() for parameter in network.parameters())


class Orc(Method):
    """A pivot, and students that are promoted and demoted at every iteration."""

    host_decides = True

    def __init__(
        self, config: OrcConfig, group: Group, networks: Mapping[str, nn.Module], optimizer: Sgd
    ) -> None:
        self.config, self.pivot, self.names = config, group.teacher, group.students
        self.teaches_pivot = (
            config.intensive.material != "none" and config.intensive.pivot_lr_scale > 0
        )
        super().__init__(
            networks,
            trained=[self.pivot, *self.names] if self.teaches_pivot else self.names,
            optimizer=optimizer,
            learning_rate_scales={self.pivot: config.intensive.pivot_lr_scale},
        )
        self.roles: Roles = Roles(self.pivot, (), self.names)
        self.memory = Memory()
        self.depths = {name: depth_of(self.networks[name]) for name in self.names}

    @classmethod
    def networks_of(cls, group: Group, config: AnyMethod) -> tuple[str, ...]:
        """The whole group."""
        return (group.teacher, *group.students)

    @classmethod
    def teachers_of(cls, group: Group) -> tuple[str, ...]:
        """The pivot."""
        return (group.teacher,)

    @property
    def drawn_per_image(self) -> frozenset[str]:
        """Feedback draws; and MixUp weights where each image has its own."""
        each = {"mix_weight"} if self.config.mixup.draw_per == "sample" else set()
        return frozenset({"uniform"} | each)

    def draw_epoch(
        self, steps: int, batch_size: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """MixUp weights, [steps] or [steps, B]; feedback draws, [steps, B]; and, where promotion
        is by lot, the lots, [steps, students].
        """
        uniform = torch.rand(steps, batch_size, generator=generator)
        shape = (steps, batch_size) if self.config.mixup.draw_per == "sample" else (steps,)
        # torch draws no Beta from a generator of one's own; numpy, seeded by ours, does.
        seed = int(torch.randint(2**62, (), generator=generator))
        alpha = self.config.mixup.alpha
        weight = np.random.default_rng(seed).beta(alpha, alpha, size=shape)
        drawn = {"uniform": uniform, "mix_weight": torch.from_numpy(weight).float()}
        if self.config.promotion.rule == "random":
            drawn["lots"] = torch.rand(steps, len(self.names), generator=generator)
        return drawn

    def iterate(self, images: Tensor, labels: Tensor, draws: Mapping[str, Tensor]) -> StepResult:
        """One iteration: feedback, intensive, private and group teaching."""
        phase = self.execution.phase
        # The students answer: what they say ranks them, and chooses the feedback.
        said = phase("answers", self._answers, images, labels, draws)
        ballot = HostRead(said.figures)

        # Intensive teaching: the pivot learns what the students get wrong. Then it answers.
        pivot = phase("intensive teaching", self._intensive_teaching, images, labels, said, draws)

        # Promotion. The ballot has arrived while the pivot was learning.
        scores = self._promote(*(dict(zip(self.names, row, strict=True)) for row in ballot.wait()))
        self.execution.processes.must_agree("the election", self.roles)

        # Private and group teaching, by those who were promoted.
        promoted = ("teaching", self.roles.temporary_teachers)
        taught = phase(promoted, self._private_and_group_teaching, images, labels, said, pivot)

        return StepResult(
            losses=pivot.losses | taught,
            correct=said.correct,
            measures={"feedback/wrong_by_anyone": said.wrong_by_anyone},
            roles=self.roles,
            scores=scores,
        )

    def _answers(self, images: Tensor, labels: Tensor, draws: Mapping[str, Tensor]) -> Answers:
        """The same answers rank the students and train them, unless ranking is asked to see
        running statistics.
        """
        logits = self.answers_of(self.names, images)
        seen = logits
        if self.config.ranking.batch_norm == "eval":
            seen = {name: self.ask_teacher(name, images) for name in self.names}
        answers = torch.stack([seen[name].detach() for name in self.names])  # [m, B, C]
        student_losses = torch.stack([losses.cross_entropy(a, labels) for a in answers])  # [m, B]
        wrong = answers.argmax(dim=2) != labels
        figures = [student_losses.mean(1), (~wrong).to(student_losses.dtype).mean(1)]
        if "lots" in draws:
            figures.append(draws["lots"].to(student_losses.dtype))
        simultaneous = self.config.teaching.order == "simultaneous"
        processes = self.execution.processes
        return Answers(
            logits=logits,
            losses=student_losses,
            wrong=wrong,
            figures=processes.mean_of(torch.stack(figures)),  # an election has one result
            correct={name: count_correct(logits[name], labels) for name in self.names},
            wrong_by_anyone=wrong.any(dim=0).float().mean(),
            pivot_before=self._ask_pivot(images) if simultaneous else None,
        )

    def _private_and_group_teaching(
        self, images: Tensor, labels: Tensor, said: Answers, pivot: Taught
    ) -> dict[str, Tensor]:
        """Teach under ``self.roles``; returns the students' losses."""
        parts: dict[str, Tensor] = {}
        logits = said.logits
        # Private teaching: the pivot alone teaches the promoted.
        taught = {
            name: self._private_loss(name, logits[name], labels, pivot.logits, parts)
            for name in self.roles.temporary_teachers
        }
        if self.config.teaching.order == "sequential" and taught:
            self.update(list(taught), list(taught.values()))
        # Group teaching: the pivot and the promoted teach everyone else.
        teachers = {self.pivot: pivot.logits}
        for name in self.roles.temporary_teachers:
            teachers[name] = logits[name].detach()
            if self.config.teaching.order == "sequential":
                how = self.config.teaching.temporary_batch_norm
                teachers[name] = self.ask_teacher(name, images, how)
        group = {
            name: self._group_loss(name, logits[name], labels, teachers, parts)
            for name in self.roles.students
        }
        if self.config.teaching.order == "simultaneous":
            group |= taught
        if group:
            self.update(list(group), list(group.values()))
        return {name: loss.detach() for name, loss in parts.items()}

    def _ask_pivot(self, images: Tensor) -> Tensor:
        how = self.config.teaching.pivot_batch_norm
        return self.ask_teacher(self.pivot, images, how)

    def _promote(
        self,
        mean_losses: Mapping[str, float],
        accuracies: Mapping[str, float],
        lots: Mapping[str, float] | None = None,
    ) -> dict[str, float]:
        """Decide ``self.roles`` for this iteration; returns the scores of the ranking.

        Where the rule is not to elect, the ranking is for the record, and decides nothing.
        """
        ranking, promotion = self.config.ranking, self.config.promotion
        memory = self.memory.updated(mean_losses, accuracies, ranking.smoothing)
        scores = score_students(ranking.criterion, self.memory, memory, mean_losses)
        decisive, margin = scores, promotion.margin
        if promotion.rule != "elected":
            order = lots or self._by_depth(promotion.rule)
            # A network that has gone NaN has no score, and teaches under no rule.
            decisive = {
                name: order[name] if math.isfinite(score) else score
                for name, score in scores.items()
            }
            margin = 0.0
        self.roles = elect(
            decisive,
            memory.accuracy,
            self.roles,
            top_k=promotion.top_k,
            margin=margin,
            min_accuracy=promotion.min_accuracy,
        )
        self.memory = memory
        return scores

    def _by_depth(self, rule: str) -> dict[str, float]:
        """A score for each student, the lowest for the deepest or the shallowest."""
        ranked = sorted(self.depths.values(), reverse=rule == "deepest")
        return {name: float(ranked.index(depth)) for name, depth in self.depths.items()}

    def _intensive_teaching(
        self, images: Tensor, labels: Tensor, said: Answers, draws: Mapping[str, Tensor]
    ) -> Taught:
        """L_1: the pivot learns the MixUp of training and feedback samples, and takes its step."""
        parts = {}
        if self.teaches_pivot:
            weight = draws["mix_weight"]
            if self.config.intensive.material == "feedback":
                weight = torch.zeros_like(weight)
            partners, partner_labels = self._partners(images, labels, said, draws["uniform"])
            logits = self.forward(self.pivot, losses.mix(images, partners, weight))
            loss = losses.mixed_cross_entropy(logits, labels, partner_labels, weight)
            self.update([self.pivot], [loss])
            for part in ("loss", "mixed_ce"):
                parts[f"{self.pivot}/{part}"] = loss.detach()
        before = said.pivot_before
        return Taught(parts, self._ask_pivot(images) if before is None else before)

    def _partners(
        self, images: Tensor, labels: Tensor, said: Answers, uniform: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What each image is mixed with, and its label: from this process's part of the batch, or
        from all of it.
        """
        feedback, processes = self.config.feedback, self.execution.processes
        own, wrong, student_losses = slice(None), said.wrong, said.losses
        if feedback.across == "batch" and processes.count > 1:
            own = processes.part_of(processes.count * len(labels))
            images, labels, uniform = map(processes.joined, (images, labels, uniform))
            student_losses = processes.joined(student_losses.T).T
            wrong = processes.joined(wrong.T.byte()).T.bool()
        if self.config.intensive.material == "mixed_random":
            partner = (uniform * len(labels)).long()
        else:
            probabilities = feedback_probabilities(feedback.choice, student_losses, wrong)
            partner = draw_partners(probabilities, uniform, feedback.nobody_errs)
        return images[partner[own]], labels[partner[own]]

    def _private_loss(
        self,
        name: str,
        logits: Tensor,
        labels: Tensor,
        pivot_logits: Tensor,
        parts: dict[str, Tensor],
    ) -> Tensor:
        """L_P = (1-beta) H(y, P_TT) + beta T^2 KL(P_PT || P_TT)."""
        ce = parts[f"{name}/ce"] = losses.cross_entropy(logits, labels).mean()
        loss = ce
        if self.config.teaching.private:
            temperature, beta = self.config.temperature, self.config.beta
            targets = losses.soft_targets(pivot_logits, temperature)
            kd = parts[f"{name}/kd_pivot"] = losses.distillation(logits, targets, temperature)
            loss = (1 - beta) * ce + beta * kd
        parts[f"{name}/loss"] = loss
        return loss

    def _group_loss(
        self,
        name: str,
        logits: Tensor,
        labels: Tensor,
        teachers: Mapping[str, Tensor],
        parts: dict[str, Tensor],
    ) -> Tensor:
        """L_T^i = (1-beta) H(y, P_Si) + beta L_G^i; L_G sums the teachers' KD terms by default."""
        temperature, beta = self.config.temperature, self.config.beta
        ce = parts[f"{name}/ce"] = losses.cross_entropy(logits, labels).mean()
        way = self.config.teaching.group
        loss = ce
        if way in ("individual", "mean"):
            terms = {
                teacher: losses.distillation(
                    logits, losses.soft_targets(answer, temperature), temperature
                )
                for teacher, answer in teachers.items()
            }
            parts[f"{name}/kd_pivot"] = terms.pop(self.pivot)
            kd = parts[f"{name}/kd_pivot"]
            if terms:
                parts[f"{name}/kd_temporary"] = torch.stack(list(terms.values())).sum()
                kd = kd + parts[f"{name}/kd_temporary"]
            kd = kd / len(teachers) if way == "mean" else kd
            loss = (1 - beta) * ce + beta * kd
        elif way != "none":
            targets = losses.ensemble_targets(
                list(teachers.values()), temperature, way.removeprefix("ensemble_")
            )
            kd = parts[f"{name}/kd_ensemble"] = losses.distillation(logits, targets, temperature)
            loss = (1 - beta) * ce + beta * kd
        parts[f"{name}/loss"] = loss
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The base's, with the roles and the promotion memory."""
        return super().state_dict() | {
            "temporary_teachers": list(self.roles.temporary_teachers),
            "memory": {"loss": dict(self.memory.loss), "accuracy": dict(self.memory.accuracy)},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        super().load_state_dict(state)
        promoted = tuple(state["temporary_teachers"])
        students = tuple(name for name in self.names if name not in promoted)
        self.roles = Roles(self.pivot, promoted, students)
        self.memory = Memory(**state["memory"])
