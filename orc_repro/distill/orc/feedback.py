"""Feedback: which samples of the mini-batch the students hand to the pivot.

The paper calls them the students' error samples and says no more (``docs/method.md``), so the
rule is a parameter. All of it stays on the device: every sample gets a probability, and one
partner per sample of the batch is drawn by inverting the cumulative distribution, so shapes are
the same whether one sample is wrong or all are. m students, B samples.
"""

from __future__ import annotations

import torch
from torch import Tensor


def feedback_probabilities(choice: str, losses: Tensor, wrong: Tensor) -> Tensor:
    """Each sample's probability of being drawn as feedback, [B]; all zero if nobody errs.

    Args:
        choice: ``student_loss``: a student's share of the feedback is the softmax over the
            students' mean losses (those with no error have none), divided equally over its
            errors. ``sample_loss``: softmax over the mean loss of each sample that anyone got
            wrong. ``union``: every sample that anyone got wrong, equally. ``hardest``: the
            sample that anyone got wrong with the highest mean loss, always.
        losses: cross-entropy of each student on each sample, [m, B].
        wrong: whether each student mispredicted each sample, bool [m, B].
    """
    # A student that has gone NaN has no opinion; its rows count as if it were not there.
    alive = torch.isfinite(losses).all(dim=1, keepdim=True)
    wrong = wrong & alive
    anyone = wrong.any(dim=0)
    losses = torch.where(alive, losses, 0.0)
    mean_over_students = losses.sum(0) / alive.sum().clamp(min=1)
    if choice == "student_loss":
        errs = wrong.sum(dim=1)
        scores = torch.where(errs > 0, losses.mean(dim=1), -torch.inf)
        share = torch.nan_to_num(torch.softmax(scores, dim=0))
        return ((share / errs.clamp(min=1)).unsqueeze(1) * wrong).sum(dim=0)
    if choice == "sample_loss":
        return torch.nan_to_num(
            torch.softmax(torch.where(anyone, mean_over_students, -torch.inf), dim=0)
        )
    if choice == "union":
        return anyone / anyone.sum().clamp(min=1)
    if choice == "hardest":
        hardest = torch.where(anyone, mean_over_students, -torch.inf).argmax()
        return (torch.arange(len(anyone), device=anyone.device) == hardest) & anyone
    raise ValueError(f"unknown feedback choice {choice!r}")


def draw_partners(probabilities: Tensor, uniform: Tensor, nobody_errs: str = "self") -> Tensor:
    """The index of each sample's feedback partner, int64 [B].

    Args:
        probabilities: from :func:`feedback_probabilities`, [B].
        uniform: draws from [0, 1), [B].
        nobody_errs: what a sample is paired with when ``probabilities`` are all zero: ``self``
            or ``random`` (any sample of the batch).
    """
    count = len(probabilities)
    positions = torch.arange(count, device=probabilities.device)
    # A sum over a triangle instead of cumsum, which has no deterministic form on a GPU.
    cumulative = probabilities.double().expand(count, count).tril().sum(dim=1)
    drawn = torch.searchsorted(cumulative, uniform.double() * cumulative[-1], right=True)
    # Rounding may put a draw behind the last sample that can be drawn.
    last = torch.where(probabilities > 0, positions, 0).max()
    drawn = torch.minimum(drawn, last)
    fallback = positions if nobody_errs == "self" else (uniform * count).long()
    return torch.where(cumulative[-1] > 0, drawn, fallback)
