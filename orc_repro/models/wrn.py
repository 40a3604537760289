"""Wide residual networks ("Wide Residual Networks", Zagoruyko and Komodakis, 2016), no dropout."""

from __future__ import annotations

from torch import Tensor, nn

from orc_repro.models.layers import Classifier, init_convolutions


class PreActivationBlock(nn.Module):
    """BN-ReLU-conv twice and a shortcut, [N, inputs, H, W] -> [N, outputs, H/stride, W/stride].

    Where the number of channels changes, a 1x1 convolution carries the shortcut, and it starts
    from the activated input ("Identity Mappings in Deep Residual Networks", He et al., 2016).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        self.projection: nn.Conv2d | None = None
        if inputs != outputs:
            self.projection = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.activation(x)
        residual: Tensor = self.residual(activated)
        return residual + (x if self.projection is None else self.projection(activated))


def wide_resnet(depth: int, factor: int, *, num_classes: int, in_channels: int) -> Classifier:
    """A WRN of ``depth`` = 6n + 4 layers, three stages of 16, 32 and 64 times ``factor`` channels.

    The second and third stage halve H and W. [N, in_channels, H, W] -> [N, num_classes].
    """
    blocks_per_stage = (depth - 4) // 6
    width = 16
    features = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1, bias=False))
    for outputs, stage_stride in ((16 * factor, 1), (32 * factor, 2), (64 * factor, 2)):
        for block in range(blocks_per_stage):
            stride = stage_stride if block == 0 else 1
            features.append(PreActivationBlock(width, outputs, stride))
            width = outputs
    features.extend([nn.BatchNorm2d(width), nn.ReLU(inplace=True)])
    network = Classifier(features, width, num_classes)
    init_convolutions(network)
    nn.init.zeros_(network.head.bias)
    return network
