"""Layers under other projects' names come to their own, or nothing is taken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from orc_repro.errors import UserError
from orc_repro.given.files import load_given
from orc_repro.models import build

OURS = re.compile(
    r"features\.(?P<at>\d+)\.(?:residual\.(?P<r>\d)\.(?P<rk>\d)|shortcut\.(?P<s>\d)|(?P<k>\d))\.(?P<leaf>\w+)"
)


def as_repdistiller(name: str, blocks: int) -> str:
    """The name of one of our ResNets' tensors in RepDistiller and mdistiller."""
    match = OURS.fullmatch(name)
    if match is None:
        return name.replace("head.", "fc.")
    leaf = match["leaf"]
    if match["k"]:
        return f"{('conv1', 'bn1')[int(match['k'])]}.{leaf}"
    at = int(match["at"]) - 1
    block = f"layer{at // blocks + 1}.{at % blocks}"
    if match["s"]:
        return f"{block}.downsample.{match['s']}.{leaf}"
    return f"{block}.{('conv', 'bn')[int(match['rk'])]}{int(match['r']) + 1}.{leaf}"


def drawn(architecture: str) -> dict[str, Tensor]:
    """A state dict of which no two tensors are equal."""
    torch.manual_seed(3)
    state = build(architecture, num_classes=7).state_dict()
    return {n: torch.rand(t.shape) if t.is_floating_point() else t for n, t in state.items()}


def check(architecture: str, theirs: dict[str, Tensor], ours: dict[str, Tensor], file: str) -> None:
    network = build(architecture, num_classes=7)
    load_given(network, theirs, Path(file))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, ours[name]), name


@pytest.mark.parametrize(("architecture", "blocks"), [("resnet8x4", 1), ("resnet110", 18)])
@pytest.mark.parametrize("lean", [False, True])
def test_the_usual_names_of_resnets_are_known_in_any_order(
    architecture: str, blocks: int, lean: bool
) -> None:
    ours = drawn(architecture)
    theirs = {as_repdistiller(name, blocks): t for name, t in sorted(ours.items())}
    assert len(theirs) == len(ours) and not theirs.keys() & ours.keys()
    if lean:
        theirs = {n: t for n, t in theirs.items() if not n.endswith("num_batches_tracked")}
    check(architecture, theirs, ours, "a.safetensors")


@pytest.mark.parametrize(
    "architecture",
    ["resnet32x4", "wrn_40_2", "vgg13", "mobilenetv2", "shufflenetv1", "shufflenetv2"],
)
def test_layers_in_order_come_to_their_own(architecture: str) -> None:
    ours = drawn(architecture)
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in ours))
    theirs = {
        f"x{layers.index(name.rpartition('.')[0])}.{name.rpartition('.')[2]}": tensor
        for name, tensor in ours.items()
    }
    check(architecture, theirs, ours, "a.pth")
    with pytest.raises(UserError, match=r"the network has no x\d+"):  # which has no order
        check(architecture, theirs, ours, "a.safetensors")


def test_another_shape_anywhere_is_refused() -> None:
    ours = drawn("wrn_16_2")
    theirs = {"x" + name: tensor for name, tensor in ours.items()}
    theirs["xhead.weight"] = theirs["xhead.weight"][:5]
    theirs["xhead.bias"] = theirs["xhead.bias"][:5]
    with pytest.raises(UserError, match="the network has no xfeatures"):
        check("wrn_16_2", theirs, ours, "a.pth")
    renamed = {as_repdistiller(name, 1): t for name, t in drawn("resnet8").items()}
    renamed["fc.weight"], renamed["fc.bias"] = renamed["fc.weight"][:5], renamed["fc.bias"][:5]
    with pytest.raises(UserError, match=r"head\.weight is float32 \[5, 64\], not"):
        check("resnet8", renamed, ours, "a.pth")


def test_names_without_end_are_refused() -> None:
    ours = drawn("resnet8")
    theirs = {f"layer{9 * '9' * 1000}.0.conv1.weight": torch.zeros(1)} | ours
    with pytest.raises(UserError, match=r"it has no layer999"):
        check("resnet8", theirs, ours, "a.pth")
