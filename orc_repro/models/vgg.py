"""VGG with batch norm ("Very Deep Convolutional Networks for Large-Scale Image Recognition",
Simonyan and Zisserman, 2015), cut down to CIFAR as in "Contrastive Representation Distillation"
(Tian et al., 2020).
"""

from __future__ import annotations

from torch import nn

from orc_repro.models.layers import Classifier, conv_bn, init_convolutions, init_head

_CHANNELS = (64, 128, 256, 512, 512)
# A fourth pooling would leave 2x2 positions of a 32x32 image to the last stage; CRD has none.
_POOLED_STAGES = 3


def vgg(convolutions: tuple[int, ...], *, num_classes: int, in_channels: int) -> Classifier:
    """A VGG with ``convolutions[i]`` 3x3 convolutions in stage i, and one linear layer.

    Each of the first three stages ends in 2x2 max pooling.
    [N, in_channels, H, W] -> [N, num_classes].
    """
    features = nn.Sequential()
    width = in_channels
    for stage, (count, outputs) in enumerate(zip(convolutions, _CHANNELS, strict=True)):
        for _ in range(count):
            features.append(conv_bn(width, outputs, 3, bias=True))
            width = outputs
        if stage < _POOLED_STAGES:
            features.append(nn.MaxPool2d(2))
    network = Classifier(features, width, num_classes)
    init_convolutions(network)
    init_head(network)
    return network
