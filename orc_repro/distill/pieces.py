"""A batch in pieces, for a memory that does not hold what a backward pass needs of all of it.

Each piece's activations are forgotten after its forward pass and computed again for its backward
pass, by ``torch.utils.checkpoint``; gradients add up. So a method asks for logits of the whole
batch, and needs not know. Batch norm sees a piece at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Forward = Callable[[Tensor], Tensor]


def in_pieces(network: nn.Module, forward: Forward, images: Tensor, pieces: int) -> Tensor:
    """``forward(images)`` of a network, piece by piece: logits [B, C] of images [B, C_in, H, W].

    Raises:
        ValueError: the batch cannot be divided equally.
    """
    if len(images) % pieces:
        raise ValueError(f"{len(images)} images cannot be divided into {pieces} pieces")
    parts = images.chunk(pieces)
    if not torch.is_grad_enabled():
        return torch.cat([forward(part) for part in parts])
    # Reentrant: the other way holds what every piece computed again until all of them are done.
    # It tells by its inputs whether there is something to learn, and images never say so.
    learns = torch.ones((), requires_grad=True)
    made = [
        checkpoint(_Forward(network, forward), part, learns, use_reentrant=True) for part in parts
    ]
    return torch.cat(made)


class _Forward:
    """A forward pass; made again, it leaves the running statistics alone."""

    def __init__(self, network: nn.Module, forward: Forward) -> None:
        self._network, self._forward, self._again = network, forward, False

    def __call__(self, images: Tensor, _: Tensor) -> Tensor:
        if self._again:
            with _statistics_kept(self._network):
                return self._forward(images)
        self._again = True
        return self._forward(images)


@contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    """Running statistics are given as before, so that the same is saved for the backward pass, and
    moved by nothing.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    counted = [n.num_batches_tracked.clone() for n in norms if n.num_batches_tracked is not None]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        tracking = [norm for norm in norms if norm.num_batches_tracked is not None]
        for norm, count in zip(tracking, counted, strict=True):
            norm.num_batches_tracked = count
