"""Batch norm over the batches of all processes, as if one process had them.

By default each process normalises with the statistics of its own part of a batch. A recipe with
``batch_norm: batch`` asks for those of the whole. On a GPU this is torch's ``SyncBatchNorm``, which
knows no CPU; there it is the module below.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from orc_repro.processes.group import together


class _Sum(torch.autograd.Function):
    """A sum over all processes. Each process's loss depends on what all put in, so the gradient
    of what one put in is the sum of all gradients of the result.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.clone()
        with together():
            dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        summed = gradient.clone(memory_format=torch.contiguous_format)
        with together():
            dist.all_reduce(summed)
        return summed


def _summed(values: Tensor) -> Tensor:
    summed: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return summed


class WholeBatchNorm2d(nn.BatchNorm2d):
    """Images [B, C, H, W]; mean and variance of each channel over those of every process."""

    def forward(self, images: Tensor) -> Tensor:
        """As ``BatchNorm2d``; in training mode all processes must come here."""
        if not self.training:
            return super().forward(images)
        values = images.to(torch.promote_types(images.dtype, torch.float32))
        count = dist.get_world_size() * values.numel() // values.shape[1]
        mean = _summed(values.sum((0, 2, 3))) / count
        centred = values - mean.view(1, -1, 1, 1)
        variance = _summed(centred.square().sum((0, 2, 3))) / count
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        normal = centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        result: Tensor = normal.to(images.dtype)
        return result

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def over_whole_batches(networks: Iterable[nn.Module], device: torch.device) -> None:
    """Let the batch norm of networks see the batches of all processes; in place.

    Their weights and statistics keep their names.
    """
    for network in networks:
        for module in list(network.modules()):
            for name, child in list(module.named_children()):
                if type(child) is nn.BatchNorm2d:
                    setattr(module, name, _converted(child, device))


def _converted(norm: nn.BatchNorm2d, device: torch.device) -> nn.Module:
    if device.type == "cuda":
        whole: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)  # type: ignore[no-untyped-call]
        return whole
    dtype = norm.weight.dtype
    ours = WholeBatchNorm2d(norm.num_features, norm.eps, norm.momentum, device=device, dtype=dtype)
    ours.load_state_dict(norm.state_dict())
    return ours
