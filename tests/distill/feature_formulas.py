"""The losses on features, written from the papers and, where these leave it open, authors' code.

Each is a scalar of the compared features of student and teacher, and the student's adapters.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def at(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], adapters: Any) -> Tensor:
    """Squared distance of normalised maps of energy, mean over positions and batch; all stages."""
    total = torch.zeros(())
    for one, other in zip(student, teacher, strict=True):
        for x, y in zip(one, other, strict=True):
            q, p = (x * x).sum(0), (y * y).sum(0)
            difference = q / (q * q).sum().sqrt() - p / (p * p).sum().sqrt()
            total = total + (difference**2).sum() / (q.numel() * len(one))
    return total


def huber(x: Tensor, y: Tensor) -> Tensor:
    distance = (x - y).abs()
    return torch.where(distance <= 1, 0.5 * distance**2, distance - 0.5)


def rkd(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], adapters: Any) -> Tensor:
    """Distances over their mean, weight 25, and cosines at each vertex, weight 50."""

    def lengths(x: Tensor) -> dict[tuple[int, int], Tensor]:
        pairs = [(i, j) for i, j in product(range(len(x)), repeat=2) if i != j]
        found = {(i, j): (x[i] - x[j]).norm() for i, j in pairs}
        mean = torch.stack(list(found.values())).mean()
        return {pair: length / mean for pair, length in found.items()}

    def angle(x: Tensor, i: int, j: int, k: int) -> Tensor:
        if i == j or k == j:
            return torch.zeros(())
        cosine: Tensor = F.cosine_similarity(x[i] - x[j], x[k] - x[j], dim=0)
        return cosine

    (s,), (t,) = student, teacher
    count, ours, theirs = len(s), lengths(s), lengths(t)
    by_distance = torch.stack([huber(ours[pair], theirs[pair]) for pair in ours]).sum() / count**2
    triplets = product(range(count), repeat=3)
    by_angle = torch.stack([huber(angle(s, *ijk), angle(t, *ijk)) for ijk in triplets]).mean()
    return 25 * by_distance + 50 * by_angle


def pkt(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], adapters: Any) -> Tensor:
    """KL of each sample's neighbourhood, teacher to student, over b^2 as the authors have it."""
    near = []
    for (features,) in (student, teacher):
        cosines = F.cosine_similarity(features[:, None], features[None], dim=2)
        kernel = (cosines + 1) / 2
        near.append(kernel / kernel.sum(1, keepdim=True))
    q, p = near
    return (p * (p.log() - q.log())).sum() / len(q) ** 2


def fitnet(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], adapters: Any) -> Tensor:
    """Mean squared distance to the teacher's map of a regressor's: 1x1, batch norm, ReLU."""
    (layers,) = adapters
    x = torch.einsum("oi,bihw->bohw", layers.conv.weight[:, :, 0, 0], student[0])
    x = x + layers.conv.bias[None, :, None, None]
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), False, keepdim=True)
    scale, shift = (p[None, :, None, None] for p in (layers.bn.weight, layers.bn.bias))
    x = scale * (x - mean) / (variance + 1e-5).sqrt() + shift
    loss: Tensor = (x.clamp(min=0) - teacher[0]).square().mean()
    return loss


def vid(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], adapters: Any) -> Tensor:
    """-log N(teacher; mu(student), sigma^2 of the channel) but for its constant; all stages."""
    total = torch.zeros(())
    for one, other, layers in zip(student, teacher, adapters, strict=True):
        mean = one
        for i in (0, 2, 4):
            mean = torch.einsum("oi,bihw->bohw", layers.regressor[i].weight[:, :, 0, 0], mean)
            mean = mean.clamp(min=0) if i < 4 else mean
        variance = F.softplus(layers.soft_plus_param) + 1e-5
        normal = torch.distributions.Normal(mean, variance.sqrt()[None, :, None, None])
        constant = 0.5 * torch.log(torch.tensor(2 * torch.pi))
        total = total - normal.log_prob(other).mean() - constant  # type: ignore[no-untyped-call]
    return total


FORMULAS = {"fitnet": fitnet, "at": at, "vid": vid, "rkd": rkd, "pkt": pkt}
