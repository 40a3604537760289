"""The four ways in which KDCL makes one teacher of several networks' logits.

Guo et al., "Online Knowledge Distillation via Collaborative Learning", CVPR 2020, section 3.
K networks, B images, C classes; ``logits`` [K, B, C], results [B, C], in float32. None of them
carries a gradient, and none waits for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LINEAR_STEPS = 40
LINEAR_RATE = 4.0
"""Chosen on random logits of several sizes: in the mean within 0.005 of the lowest cross-entropy,
and within 0.1 of it on the worst image.
"""


def naive(logits: Tensor, labels: Tensor) -> Tensor:
    """For each image the logits of the network with the lowest cross-entropy on it."""
    losses = _cross_entropies(logits, labels)
    best = losses.argmin(dim=0)
    return logits[best, torch.arange(logits.shape[1], device=logits.device)]


def minlogit(logits: Tensor, labels: Tensor) -> Tensor:
    """Each network's logits relative to its logit of the true class; for each class the lowest."""
    own = logits.gather(2, labels.expand(len(logits), -1).unsqueeze(2))
    return (logits - own).amin(dim=0)


def linear(logits: Tensor, labels: Tensor) -> Tensor:
    """The convex combination with the lowest cross-entropy, for each image its own.

    The problem is convex; it is solved by exponentiated gradient, whose steps keep the weights
    positive and their sum 1, a fixed number of them so that the host is never asked.
    """
    count, batch, _ = logits.shape
    weights = logits.new_full((count, batch), 1 / count)
    # The gradient's size is that of differences between logits; a step is measured by it.
    spread = (logits.amax(0) - logits.amin(0)).amax(dim=1).clamp(min=1e-6)
    for step in range(LINEAR_STEPS):
        mixed = (weights.unsqueeze(2) * logits).sum(0)
        error = mixed.softmax(1) - F.one_hot(labels, mixed.shape[1])
        gradient = (logits * error).sum(2) / spread
        rate = LINEAR_RATE / (1 + step / 8)
        weights = (weights.clamp(min=1e-12).log() - rate * gradient).softmax(0)
    return (weights.unsqueeze(2) * logits).sum(0)


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
    all weigh the same.
    """
    count = len(products)
    ridge = 1e-3 * products.diagonal().mean() + 1e-12
    regular = products + ridge * torch.eye(count, dtype=products.dtype, device=products.device)
    # _ex: without a check on the host, for which a GPU would be waited for.
    solved = torch.linalg.solve_ex(regular, products.new_ones(count)).result
    weights: Tensor = (solved / solved.sum()).float()
    return weights


def _cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Of each network on each image, [K, B]."""
    return torch.stack([F.cross_entropy(each, labels, reduction="none") for each in logits])
