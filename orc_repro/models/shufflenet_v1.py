"""ShuffleNet ("ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
Devices", Zhang et al., 2018), 3 groups.

The CIFAR variant of "Contrastive Representation Distillation" (Tian et al., 2020): a 1x1 stem
without pooling, a ReLU also after the depthwise convolution, torch's default weight init.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orc_repro.models.layers import Classifier, conv_bn

_GROUPS = 3
_STEM = 24
_STAGES = ((240, 4), (480, 8), (960, 4))  # channels, blocks


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1.

    With stride 1 the input is added, [N, inputs, H, W] -> the same (``outputs`` = ``inputs``);
    with stride 2 the pooled input is appended as further channels,
    [N, inputs, H, W] -> [N, outputs, H/2, W/2].
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        branch = outputs - inputs if stride == 2 else outputs
        hidden = branch // 4
        # The stem has too few channels to be split (section 3.2 of the paper).
        groups = 1 if inputs == _STEM else _GROUPS
        self.branch = nn.Sequential(
            conv_bn(inputs, hidden, 1, groups=groups),
            nn.ChannelShuffle(groups),
            conv_bn(hidden, hidden, 3, stride=stride, groups=hidden),
            conv_bn(hidden, branch, 1, groups=_GROUPS, relu=False),
        )
        self.halves = stride == 2

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.branch(x)
        if self.halves:
            return F.relu(torch.cat([y, F.avg_pool2d(x, 3, stride=2, padding=1)], dim=1))
        return F.relu(y + x)


def shufflenet_v1(*, num_classes: int, in_channels: int) -> Classifier:
    """ShuffleNet with 3 groups; each of three stages halves H and W.

    [N, in_channels, H, W] -> [N, num_classes].
    """
    features = nn.Sequential(conv_bn(in_channels, _STEM, 1))
    width = _STEM
    for outputs, blocks in _STAGES:
        features.append(ShuffleUnit(width, outputs, stride=2))
        features.extend(ShuffleUnit(outputs, outputs, stride=1) for _ in range(blocks - 1))
        width = outputs
    return Classifier(features, width, num_classes)
