"""CIFAR ResNets ("Deep Residual Learning for Image Recognition", He et al., 2016, section 4.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from orc_repro.models.layers import Classifier, conv_bn, init_convolutions


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, [N, inputs, H, W] -> [N, outputs, H/stride, W/stride].

    The shortcut is a 1x1 convolution with batch norm where the shape changes (option B).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv_bn(inputs, outputs, 3, stride=stride),
            conv_bn(outputs, outputs, 3, relu=False),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = conv_bn(inputs, outputs, 1, stride=stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x))


def resnet(
    depth: int, channels: tuple[int, ...], *, num_classes: int, in_channels: int
) -> Classifier:
    """A ResNet of ``depth`` = 6n + 2 layers, n blocks in each of three stages.

    ``channels`` are those of the stem and of each stage; the second and third stage halve H and
    W. [N, in_channels, H, W] -> [N, num_classes].
    """
    blocks_per_stage = (depth - 2) // 6
    width, *stages = channels
    features = nn.Sequential(conv_bn(in_channels, width, 3))
    for index, outputs in enumerate(stages):
        for block in range(blocks_per_stage):
            stride = 2 if index > 0 and block == 0 else 1
            features.append(BasicBlock(width, outputs, stride))
            width = outputs
    network = Classifier(features, width, num_classes)
    init_convolutions(network)
    return network
