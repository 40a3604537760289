"""The losses of the papers as pure functions on tensors.

Shapes: B images, C classes. Softmax and divergences are computed in float32 at least, because a
divergence of two networks that agree comes out negative in bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def upcast(values: Tensor) -> Tensor:
    """Convert half-precision values to float32; float32 and float64 stay as they are."""
    return values if values.dtype == torch.float64 else values.float()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each sample, [B], from logits [B, C] and labels [B]."""
    return F.cross_entropy(upcast(logits), labels, reduction="none")


def soft_targets(logits: Tensor, temperature: float) -> Tensor:
    """A teacher's log-probabilities at a temperature, [B, C]; carries no gradient."""
    return F.log_softmax(upcast(logits.detach()) / temperature, dim=1)


def ensemble_targets(
    teachers: Sequence[Tensor], temperature: float, of: str = "probabilities"
) -> Tensor:
    """Several teachers as one, log-probabilities [B, C] at a temperature.

    ``of="logits"`` averages the teachers' logits [B, C], ``of="probabilities"`` their softened
    probabilities; the two are different teachers. Carries no gradient.
    """
    if of == "logits":
        return soft_targets(
            torch.stack([upcast(t.detach()) for t in teachers]).mean(0), temperature
        )
    stacked = torch.stack([soft_targets(logits, temperature) for logits in teachers])
    return torch.logsumexp(stacked, dim=0) - math.log(len(teachers))


def distillation(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student), a scalar: summed over classes, mean over the batch.

    ``logits`` [B, C] are the student's, ``targets`` [B, C] a teacher's log-probabilities at the
    same temperature. T^2 keeps the gradient's size when the temperature changes (Hinton et al.,
    2015, section 2).
    """
    student = F.log_softmax(upcast(logits) / temperature, dim=1)
    divergence = F.kl_div(student, targets, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def mix(images: Tensor, partners: Tensor, weight: Tensor) -> Tensor:
    """weight * images + (1 - weight) * partners; images [B, ...], weight [] or [B]."""
    weight = weight.to(images.dtype)
    if weight.ndim == 1:
        weight = weight.view(-1, *[1] * (images.ndim - 1))
    return weight * images + (1 - weight) * partners


def mixed_cross_entropy(
    logits: Tensor, labels: Tensor, partner_labels: Tensor, weight: Tensor
) -> Tensor:
    """ORC's L_1, the mean of weight H(y_t, P) + (1 - weight) H(y_F, P), a scalar.

    logits [B, C] of the mixed images; labels and partner_labels [B]; weight [] or [B].
    """
    own = cross_entropy(logits, labels)
    partner = cross_entropy(logits, partner_labels)
    return (weight * own + (1 - weight) * partner).mean()
