"""Which networks there are, and how a name becomes one.

Names are known without torch; a family's module is imported when one of its networks is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orc_repro.errors import UserError

if TYPE_CHECKING:
    from torch import nn

# Depth; channels of the stem and of the three stages.
_RESNETS = {
    **{f"resnet{depth}": (depth, (16, 16, 32, 64)) for depth in (8, 14, 20, 26, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": (depth, (32, 64, 128, 256)) for depth in (8, 14, 20, 32)},
}

# Depth and widening factor.
_WIDE_RESNETS = {
    f"wrn_{depth}_{width}": (depth, width)
    for depth, width in ((16, 1), (16, 2), (22, 2), (28, 2), (34, 2), (40, 1), (40, 2))
}

# Convolutions in each of the five stages.
_VGGS = {
    "vgg8": (1, 1, 1, 1, 1),
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}

_MOBILE = ("mobilenetv2", "shufflenetv1", "shufflenetv2")
_IMAGENET_RESNETS = ("resnet18", "resnet34")


def names() -> tuple[str, ...]:
    """Every name that ``build`` knows, family by family."""
    return (*_RESNETS, *_WIDE_RESNETS, *_VGGS, *_MOBILE, *_IMAGENET_RESNETS)


def check_name(name: str) -> None:
    """Do nothing for a known name.

    Raises:
        UserError: the name is unknown; the message lists the known ones.
    """
    if name not in names():
        raise UserError(f"unknown network '{name}'; known networks: {', '.join(names())}")


def build(name: str, *, num_classes: int, in_channels: int = 3) -> nn.Module:
    """A new network with random weights drawn from torch's global generator.

    It maps images [N, in_channels, H, W] to logits [N, num_classes]. resnet18 and resnet34 are
    meant for ImageNet sizes (H, W from 64 up), all others for CIFAR sizes (H, W from 8 up).

    Raises:
        UserError: the name is unknown.
    """
    check_name(name)
    if name in _RESNETS:
        from orc_repro.models.resnet import resnet

        return resnet(*_RESNETS[name], num_classes=num_classes, in_channels=in_channels)
    if name in _WIDE_RESNETS:
        from orc_repro.models.wrn import wide_resnet

        return wide_resnet(*_WIDE_RESNETS[name], num_classes=num_classes, in_channels=in_channels)
    if name in _VGGS:
        from orc_repro.models.vgg import vgg

        return vgg(_VGGS[name], num_classes=num_classes, in_channels=in_channels)
    if name == "mobilenetv2":
        from orc_repro.models.mobilenet import mobilenet_v2

        return mobilenet_v2(num_classes=num_classes, in_channels=in_channels)
    if name == "shufflenetv1":
        from orc_repro.models.shufflenet_v1 import shufflenet_v1

        return shufflenet_v1(num_classes=num_classes, in_channels=in_channels)
    if name == "shufflenetv2":
        from orc_repro.models.shufflenet_v2 import shufflenet_v2

        return shufflenet_v2(num_classes=num_classes, in_channels=in_channels)
    from orc_repro.models.imagenet import imagenet_resnet

    return imagenet_resnet(name, num_classes=num_classes, in_channels=in_channels)
