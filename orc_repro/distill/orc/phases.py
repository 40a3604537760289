"""What the phases of ORC's iteration hand on. m students, B images, C classes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Answers:
    """What m students said of B images.

    Attributes:
        logits: of each student, [B, C], with what a backward pass needs.
        losses: cross-entropy [m, B] of what the ranking sees.
        wrong: bool [m, B], likewise.
        figures: the students' mean losses, their accuracies, and lots if these decide: [2 or 3, m].
        correct: how many each student has right.
        wrong_by_anyone: the part of the images that some student has wrong.
        pivot_before: the pivot's logits if they are wanted before it learns.
    """

    logits: dict[str, Tensor]
    losses: Tensor
    wrong: Tensor
    figures: Tensor
    correct: dict[str, Tensor]
    wrong_by_anyone: Tensor
    pivot_before: Tensor | None


@dataclass(frozen=True)
class Taught:
    """What intensive teaching left behind: the pivot's losses, and the logits it teaches with."""

    losses: dict[str, Tensor]
    logits: Tensor
