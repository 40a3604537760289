"""What the CIFAR networks have in common: conv-BN units, the classifier's shape, weight init."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """Convolutional features, their mean over all positions, one linear layer.

    ``features`` maps [N, C_in, H, W] to [N, width, h, w]; the network maps [N, C_in, H, W] to
    logits [N, num_classes].
    """

    def __init__(self, features: nn.Sequential, width: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


def conv_bn(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
    relu: bool = True,
) -> nn.Sequential:
    """Convolution, batch norm and, where asked, ReLU.

    [N, inputs, H, W] -> [N, outputs, ceil(H / stride), ceil(W / stride)]; ``kernel`` is odd.
    """
    conv = nn.Conv2d(
        inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=bias
    )
    unit = nn.Sequential(conv, nn.BatchNorm2d(outputs))
    if relu:
        unit.append(nn.ReLU(inplace=True))
    return unit


def init_convolutions(network: nn.Module) -> None:
    """Draw all convolutions from N(0, 2 / fan_out), biases zero ("Delving Deep into Rectifiers",
    He et al., 2015). As in the distillation literature, fan_out does not count groups.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def init_head(network: Classifier) -> None:
    """Draw the linear layer from N(0, 0.01^2), bias zero, as VGG and MobileNetV2 do."""
    nn.init.normal_(network.head.weight, std=0.01)
    nn.init.zeros_(network.head.bias)
