"""Every network builds by name, maps images to logits and can be trained."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from orc_repro.errors import UserError
from orc_repro.models import build, check_name, names

IMAGENET = ("resnet18", "resnet34")
MOBILE = ("mobilenetv2", "shufflenetv1", "shufflenetv2")
CIFAR = tuple(name for name in names() if name not in IMAGENET)


def seeded(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(name, num_classes=5)


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_networks_map_images_to_logits(name: str) -> None:
    logits = build(name, num_classes=7)(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet8", "resnet14", "resnet20", "resnet26", "wrn_16_2"])
def test_small_grey_images_work(name: str) -> None:
    logits = build(name, num_classes=10, in_channels=1)(torch.randn(2, 1, 8, 8))
    assert logits.shape == (2, 10)


@pytest.mark.parametrize("in_channels", [1, 3])
def test_imagenet_resnets_map_images_to_logits(in_channels: int) -> None:
    network = build("resnet18", num_classes=7, in_channels=in_channels)
    assert network(torch.randn(2, in_channels, 64, 64)).shape == (2, 7)


def test_imagenet_resnets_have_their_depth() -> None:
    with torch.device("meta"):
        counts = [sum(p.numel() for p in build(n, num_classes=1000).parameters()) for n in IMAGENET]
    assert counts == [11_689_512, 21_797_672]


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8", *MOBILE, "resnet18"])
def test_one_seed_gives_one_set_of_weights(name: str) -> None:
    first, again, other = (list(seeded(name, seed).parameters()) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", ["resnet8", "shufflenetv2", "mobilenetv2"])
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    network = seeded(name)
    loss = nn.functional.cross_entropy(network(torch.randn(4, 3, 32, 32)), torch.arange(4))
    loss.backward()  # type: ignore[no-untyped-call]
    silent = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize("name", ["resnet20", "wrn_16_2", "vgg8", *MOBILE])
def test_the_memory_format_does_not_change_logits(name: str) -> None:
    network = seeded(name)
    images = torch.randn(4, 3, 32, 32)
    expected = network(images)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    logits = network(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8", "mobilenetv2"])
def test_convolutions_start_with_a_fan_out_variance(name: str) -> None:
    widest = max(
        (m for m in seeded(name).modules() if isinstance(m, nn.Conv2d)),
        key=lambda conv: conv.weight.numel(),
    )
    fan_out = widest.out_channels * widest.weight[0, 0].numel()
    assert widest.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.03)


@pytest.mark.parametrize("name", names())
def test_no_network_has_dropout(name: str) -> None:
    with torch.device("meta"):
        modules = list(build(name, num_classes=10).modules())
    assert not any("Dropout" in type(module).__name__ for module in modules)


def test_names_are_known_and_distinct() -> None:
    assert len(set(names())) == len(names()) == 29
    for name in names():
        check_name(name)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError) as caught:
        build("resnet9", num_classes=10)
    message = str(caught.value)
    assert "'resnet9'" in message
    assert all(name in message for name in names())


def test_names_are_known_without_torch() -> None:
    script = (
        "import sys; from orc_repro.models import names; names(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
