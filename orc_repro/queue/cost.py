"""What cells cost, by arithmetic: to order and share them before anything is built or timed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from orc_repro.config import (
    AnyMethod,
    DmlConfig,
    Group,
    KdclConfig,
    OneConfig,
    OrcConfig,
    architecture_of,
)
from orc_repro.models import build

TRAINED = 3.0  # a pass forward, and one backward of twice its arithmetic
ASKED = 1.0
BRANCH = 1.0  # of ONE's target: its last stage and classifier, trained
CIFAR, CIFAR_IMAGES = (3, 32, 32), 50_000
IMAGENET = (3, 64, 64)  # the least that those networks take


def passes(method: AnyMethod, group: Group) -> dict[str, float]:
    """How many times a network's pass forward an iteration's arithmetic is, by network.

    The temporary teacher's answer is shared among the students, as it is not known who it will be.
    """
    from orc_repro.distill import METHODS  # here: an order of names loads no method

    kind = METHODS[method.kind]
    names = kind.networks_of(group, method)
    if isinstance(method, OrcConfig):
        learns = method.intensive.material != "none"
        answers = ASKED * method.promotion.top_k / len(group.students)
        found = dict.fromkeys(group.students, TRAINED + answers)
        return {group.teacher: ASKED + TRAINED * learns} | found
    if isinstance(method, OneConfig):
        return dict.fromkeys(names, BRANCH) | {group.target: TRAINED}
    if isinstance(method, DmlConfig | KdclConfig):
        # In turn, each but the last answers again after it was updated.
        again = ASKED * (isinstance(method, DmlConfig) and method.order == "sequential")
        return dict.fromkeys(names[:-1], TRAINED + again) | {names[-1]: TRAINED}
    return dict.fromkeys(names, ASKED) | {group.target: TRAINED}


def flop_per_image(method: AnyMethod, group: Group, shape: tuple[int, ...] | None = None) -> float:
    """Floating-point operations of an iteration, an image; of a likely size if none is given."""
    return sum(
        times * forward_flop(architecture_of(name), shape)
        for name, times in passes(method, group).items()
    )


def flop_of_group(group: Group) -> float:
    """Of one pass through each network of a group: what orders pairs from small to large."""
    names = (*([group.pivot] if group.pivot else []), *group.students)
    return sum(forward_flop(architecture_of(name)) for name in names)


@cache
def forward_flop(network: str, shape: tuple[int, ...] | None = None) -> int:
    """Of convolutions and matrix products of one image; a multiplication and its addition are two.

    Counted on tensors without values, so it is the same everywhere.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    if shape is None:
        shape = IMAGENET if network in ("resnet18", "resnet34") else CIFAR
    with torch.device("meta"):
        built = build(network, num_classes=10, in_channels=shape[0])
        images = torch.empty(1, *shape)
        # It has no products to count, and takes most of the counting's time.
        for module in list(built.modules()):
            for name, part in module.named_children():
                if isinstance(part, torch.nn.BatchNorm2d):
                    setattr(module, name, torch.nn.Identity())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        built(images)
    return int(counter.get_total_flops())


def flop_of_training(
    method: AnyMethod, group: Group, epochs: int, shape: tuple[int, ...], images: int
) -> float:
    """Of a whole training; validation comes on top, a few percent."""
    return flop_per_image(method, group, shape) * epochs * images


def in_words(flop: float) -> str:
    """``3.2 PFLOP``."""
    units = ("", "k", "M", "G", "T", "P", "E")
    step = 0
    while flop >= 1000 and step < len(units) - 1:
        flop, step = flop / 1000, step + 1
    return f"{flop:.3g} {units[step]}FLOP"


def share_out(weights: Mapping[str, float], shares: int) -> dict[str, int]:
    """Deal entries to shares, in their order, each to the share with the least so far.

    The same for everyone who asks: a function of the entries alone.
    """
    loads, dealt = [0.0] * shares, {}
    for name, weight in weights.items():
        dealt[name] = loads.index(min(loads))
        loads[dealt[name]] += weight
    return dealt
