"""Parameter and multiply-accumulate counts against the published numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from orc_repro.models import build

# Network: parameters with 10 classes, with 100 classes.
PARAMETERS = {
    "resnet8": (78_042, 83_892),
    "resnet14": (175_258, 181_108),
    "resnet20": (272_474, 278_324),
    "resnet32": (466_906, 472_756),
    "resnet44": (661_338, 667_188),
    "resnet56": (855_770, 861_620),
    "resnet110": (1_730_714, 1_736_564),
    "resnet8x4": (1_210_410, 1_233_540),
    "resnet32x4": (7_410_730, 7_433_860),
    "wrn_16_1": (175_066, 180_916),
    "wrn_16_2": (691_674, 703_284),
    "wrn_40_1": (563_930, 569_780),
    "wrn_40_2": (2_243_546, 2_255_156),
    "vgg8": (3_918_858, 3_965_028),
    "vgg11": (9_231_114, 9_277_284),
    "vgg13": (9_416_010, 9_462_180),
    "vgg16": (14_728_266, 14_774_436),
    "vgg19": (20_040_522, 20_086_692),
    "mobilenetv2": (697_546, 812_836),
    "shufflenetv1": (862_768, 949_258),
    "shufflenetv2": (1_263_278, 1_355_528),
}

# Network: millions of parameters with 100 classes, where only these are published.
MILLION_PARAMETERS = {"resnet26": 0.376, "wrn_22_2": 1.091, "wrn_28_2": 1.479, "wrn_34_2": 1.867}

# Network: millions of multiply-accumulates for one 32x32 image, 100 classes.
MILLION_MACS = {
    "resnet8": 12.51,
    "resnet14": 26.66,
    "resnet20": 40.82,
    "resnet32": 69.13,
    "resnet56": 125.75,
    "resnet8x4": 177.07,
    "wrn_16_2": 101.12,
    "wrn_40_2": 327.61,
    "vgg8": 96.19,
    "mobilenetv2": 6.52,
    "shufflenetv1": 38.69,
    "shufflenetv2": 44.50,
}


def skeleton(name: str, num_classes: int) -> nn.Module:
    """A network without storage: counting needs shapes only."""
    with torch.device("meta"):
        return build(name, num_classes=num_classes)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_published_ones(name: str) -> None:
    counts = tuple(parameters(skeleton(name, classes)) for classes in (10, 100))
    assert counts == PARAMETERS[name]


@pytest.mark.parametrize("name", MILLION_PARAMETERS)
def test_parameters_round_to_the_published_ones(name: str) -> None:
    assert round(parameters(skeleton(name, 100)) / 1e6, 3) == MILLION_PARAMETERS[name]


@pytest.mark.parametrize("name", MILLION_MACS)
def test_multiply_accumulates_are_the_published_ones(name: str) -> None:
    counter = FlopCounterMode(display=False)
    with counter:
        skeleton(name, 100)(torch.empty(1, 3, 32, 32, device="meta"))
    assert round(counter.get_total_flops() / 2e6, 2) == MILLION_MACS[name]
