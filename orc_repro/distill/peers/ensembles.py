"""Learning from an ensemble, and KDCL's four ways to make one of several networks' logits.

Guo et al., "Online Knowledge Distillation via Collaborative Learning", CVPR 2020, section 3.
K networks, B images, C classes; ``logits`` [K, B, C], ensembles [B, C], in float32. None of them
waits for the device.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from orc_repro.config import KdclConfig, OneConfig
from orc_repro.distill import losses

LINEAR_STEPS = 40
LINEAR_RATE = 4.0
"""Chosen on random logits of 2 to 4 networks, 3 to 100 classes and deviations 0.1 to 10: within
0.01 of the lowest cross-entropy in the mean; on the worst image within 0.05 of it up to deviation
3, and within 0.3 at 10.
"""


def taught(
    logits: Mapping[str, Tensor], labels: Tensor, ensemble: Tensor, config: KdclConfig | OneConfig
) -> dict[str, Tensor]:
    """H(y, P_k) + weight T^2 KL(P_ensemble || P_k) for every network k, and its two terms.

    Only the networks' own logits [B, C] receive gradients.
    """
    targets = losses.soft_targets(ensemble, config.temperature)
    parts: dict[str, Tensor] = {}
    for name, own in logits.items():
        ce = losses.cross_entropy(own, labels).mean()
        kd = losses.distillation(own, targets, config.temperature)
        parts[f"{name}/ce"], parts[f"{name}/kd_ensemble"] = ce, kd
        parts[f"{name}/loss"] = ce + config.weight * kd
    return parts


def naive(logits: Tensor, labels: Tensor) -> Tensor:
    """For each image the logits of the network with the lowest cross-entropy on it."""
    best = _cross_entropies(logits, labels).argmin(dim=0)
    return logits[best, torch.arange(logits.shape[1], device=logits.device)]


def minlogit(logits: Tensor, labels: Tensor) -> Tensor:
    """Each network's logits relative to its logit of the true class; for each class the lowest."""
    own = logits.gather(2, labels.expand(len(logits), -1).unsqueeze(2))
    return (logits - own).amin(dim=0)


def linear(logits: Tensor, labels: Tensor) -> Tensor:
    """The convex combination with the lowest cross-entropy, for each image its own.

    The problem is convex; it is solved by exponentiated gradient, whose steps keep the weights
    positive and their sum 1, a fixed number of them so that the host is never asked. Of all
    weights tried, the best network alone among them, each image keeps its best: where logits are
    large the steps overshoot.
    """
    count, batch, classes = logits.shape
    truth = _one_hot(labels, classes)
    alone = _cross_entropies(logits, labels)
    lowest = alone.amin(dim=0)
    best = _one_hot(alone.argmin(dim=0), count).T
    weights = logits.new_full((count, batch), 1 / count)
    # The gradient's size is that of differences between logits; a step is measured by it.
    spread = (logits.amax(0) - logits.amin(0)).amax(dim=1).clamp(min=1e-6)
    for step in range(LINEAR_STEPS):
        mixed = (weights.unsqueeze(2) * logits).sum(0)
        found = F.cross_entropy(mixed, labels, reduction="none")
        best = torch.where(found < lowest, weights, best)
        lowest = torch.minimum(found, lowest)
        gradient = (logits * (mixed.softmax(1) - truth)).sum(2) / spread
        rate = LINEAR_RATE / (1 + step / 8)
        weights = (weights.clamp(min=1e-12).log() - rate * gradient).softmax(0)
    return (best.unsqueeze(2) * logits).sum(0)


def general(logits: Tensor, weights: Tensor) -> Tensor:
    """The same weights [K] for every image; see :func:`general_weights`."""
    return (weights.view(-1, 1, 1) * logits).sum(0)


def error_products(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over images of (P_i - y) . (P_j - y), [K, K] in float64: what errors have in
    common; its expectation is the matrix C of the paper.
    """
    errors = logits.softmax(2) - F.one_hot(labels, logits.shape[2])
    errors = errors.double()
    return torch.einsum("ibc,jbc->ij", errors, errors) / logits.shape[1]


def general_weights(products: Tensor) -> Tensor:
    """The weights [K] of sum 1 that minimise w'Cw, from C [K, K]: C^-1 1 / (1' C^-1 1).

    A small multiple of the unit matrix is added, for networks that err alike; where C is zero,
    all weigh the same. A network whose errors are a better one's and more weighs less than zero,
    as in the closed form.
    """
    count = len(products)
    ridge = 1e-3 * products.diagonal().mean() + 1e-12
    regular = products + ridge * torch.eye(count, dtype=products.dtype, device=products.device)
    # _ex: without a check on the host, for which a GPU would be waited for.
    solved = torch.linalg.solve_ex(regular, products.new_ones(count)).result
    weights: Tensor = (solved / solved.sum()).to(torch.get_default_dtype())
    return weights


def _cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Of each network on each image, [K, B]."""
    return torch.stack([F.cross_entropy(each, labels, reduction="none") for each in logits])


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    """Floats [B, classes]; torch's own asks a CPU tensor for its bounds."""
    return (labels.unsqueeze(1) == torch.arange(classes, device=labels.device)).to(
        torch.get_default_dtype()
    )
