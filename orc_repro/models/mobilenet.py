"""MobileNetV2 ("MobileNetV2: Inverted Residuals and Linear Bottlenecks", Sandler et al., 2018).

The variant of the distillation literature ("Contrastive Representation Distillation", Tian et
al., 2020): half the width, ReLU for ReLU6, no dropout, an expansion layer also in the first block.
"""

from __future__ import annotations

from torch import Tensor, nn

from orc_repro.models.layers import Classifier, conv_bn, init_convolutions, init_head

_EXPANSION = 6
_STEM = 16
_LAST = 1280  # not halved: the paper narrows every layer but this one when the width is below 1

# Expansion, channels at half width, blocks, stride of the first block.
_STAGES = (
    (1, 8, 1, 1),
    (_EXPANSION, 12, 2, 1),
    (_EXPANSION, 16, 3, 2),
    (_EXPANSION, 32, 4, 2),
    (_EXPANSION, 48, 3, 1),
    (_EXPANSION, 80, 3, 2),
    (_EXPANSION, 160, 1, 1),
)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project: [N, inputs, H, W] -> [N, outputs, H/stride, W/stride].

    The input is added where the shape stays.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.layers = nn.Sequential(
            conv_bn(inputs, hidden, 1),
            conv_bn(hidden, hidden, 3, stride=stride, groups=hidden),
            conv_bn(hidden, outputs, 1, relu=False),
        )
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds_input else y


def mobilenet_v2(*, num_classes: int, in_channels: int) -> Classifier:
    """MobileNetV2 with expansion 6 and width 0.5; H and W shrink 16-fold.

    [N, in_channels, H, W] -> [N, num_classes].
    """
    features = nn.Sequential(conv_bn(in_channels, _STEM, 3, stride=2))
    width = _STEM
    for expansion, outputs, blocks, stage_stride in _STAGES:
        for block in range(blocks):
            stride = stage_stride if block == 0 else 1
            features.append(InvertedResidual(width, outputs, stride, expansion))
            width = outputs
    features.append(conv_bn(width, _LAST, 1))
    network = Classifier(features, _LAST, num_classes)
    init_convolutions(network)
    init_head(network)
    return network
