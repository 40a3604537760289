"""torchvision's ResNets ("Deep Residual Learning for Image Recognition", He et al., 2016)."""

from __future__ import annotations

from typing import cast

from torch import nn

from orc_repro._torchvision import import_torchvision
from orc_repro.models.layers import init_convolutions


def imagenet_resnet(name: str, *, num_classes: int, in_channels: int) -> nn.Module:
    """torchvision's resnet18 or resnet34, untrained; H and W shrink 32-fold.

    [N, in_channels, H, W] -> [N, num_classes].

    Raises:
        UserError: torchvision is not installed.
    """
    import_torchvision()
    from torchvision.models import get_model

    network = cast(nn.Module, get_model(name, weights=None, num_classes=num_classes))
    if in_channels != 3:  # torchvision's stem reads three channels only
        stem = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        init_convolutions(stem)
        network.conv1 = stem
    return network
