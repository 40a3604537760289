"""ShuffleNetV2 ("ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
Ma et al., 2018), width 1.

The CIFAR variant of "Contrastive Representation Distillation" (Tian et al., 2020): a 1x1 stem
without pooling, torch's default weight init.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orc_repro.models.layers import Classifier, conv_bn

_STEM = 24
_STAGES = ((116, 4), (232, 8), (464, 4))  # channels, units
_LAST = 1024


def _filter_branch(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        conv_bn(inputs, outputs, 1),
        conv_bn(outputs, outputs, 3, stride=stride, groups=outputs, relu=False),
        conv_bn(outputs, outputs, 1),
    )


class SplitUnit(nn.Module):
    """Filters one half of the channels, keeps the other, shuffles: [N, channels, H, W] stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = _filter_branch(channels // 2, channels // 2, stride=1)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        kept, filtered = x.chunk(2, dim=1)
        shuffled: Tensor = self.shuffle(torch.cat([kept, self.branch(filtered)], dim=1))
        return shuffled


class DownUnit(nn.Module):
    """Two filtering branches side by side: [N, inputs, H, W] -> [N, outputs, H/2, W/2]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.short_branch = nn.Sequential(
            conv_bn(inputs, inputs, 3, stride=2, groups=inputs, relu=False),
            conv_bn(inputs, outputs // 2, 1),
        )
        self.branch = _filter_branch(inputs, outputs // 2, stride=2)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        shuffled: Tensor = self.shuffle(torch.cat([self.short_branch(x), self.branch(x)], dim=1))
        return shuffled


def shufflenet_v2(*, num_classes: int, in_channels: int) -> Classifier:
    """ShuffleNetV2 of width 1; each of three stages halves H and W.

    [N, in_channels, H, W] -> [N, num_classes].
    """
    features = nn.Sequential(conv_bn(in_channels, _STEM, 1))
    width = _STEM
    for outputs, units in _STAGES:
        features.append(DownUnit(width, outputs))
        features.extend(SplitUnit(outputs) for _ in range(units - 1))
        width = outputs
    features.append(conv_bn(width, _LAST, 1))
    return Classifier(features, _LAST, num_classes)
