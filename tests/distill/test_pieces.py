"""A batch in pieces: the same gradients, statistics and roles, in less memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from orc_repro.config import KdConfig, OneConfig, Recipe
from orc_repro.cost import count
from orc_repro.distill import build_method
from orc_repro.distill.pieces import in_pieces
from orc_repro.errors import UserError
from orc_repro.models import build
from tests.distill.test_execution import recipe
from tests.helpers import group_of, orc_config, tiny_batch, tiny_network, tiny_networks

GROUP = group_of("resnet14", "resnet8")


def learn(network: nn.Module, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    torch.autograd.backward(nn.functional.cross_entropy(logits, labels))
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return gradients | {name: buffer.clone() for name, buffer in network.named_buffers()}


def test_gradients_and_statistics_are_those_of_the_pieces_one_after_the_other() -> None:
    images, labels = tiny_batch(size=12)
    ours, plain = tiny_network(0), tiny_network(0)
    found = learn(ours, in_pieces(ours, ours, images, 3), labels)
    by_hand = torch.cat([plain(images[i : i + 4]) for i in (0, 4, 8)])
    expected = learn(plain, by_hand, labels)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert found["1.num_batches_tracked"] == 3
    assert [m.momentum for m in ours.modules() if isinstance(m, nn.BatchNorm2d)] == [0.1]


def test_a_teacher_sees_pieces_too() -> None:
    network, (images, _) = tiny_network(0), tiny_batch(size=12)
    with torch.no_grad():
        found = in_pieces(network, network, images, 2)
    again = tiny_network(0)
    assert torch.equal(found, torch.cat([again(images[:6]), again(images[6:])]).detach())


def without_batch_norm(networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    return {
        name: nn.Sequential(*(part for part in network if not isinstance(part, nn.BatchNorm2d)))
        for name, network in networks.items()
        if isinstance(network, nn.Sequential)
    }


def run(how: Recipe) -> dict[str, Any]:
    method = build_method(orc_config(), GROUP, without_batch_norm(tiny_networks(GROUP)), how)
    method.set_learning_rate(1.0)
    method.train()
    drawn = method.draw_epoch(6, 8, torch.Generator().manual_seed(7))
    taught = []
    for i in range(6):
        result = method.step(*tiny_batch(i), {name: values[i] for name, values in drawn.items()})
        assert result.roles is not None
        taught.append(result.roles.temporary_teachers)
    weights = {n: dict(net.state_dict()) for n, net in method.networks.items()}
    return {"taught": taught, "weights": weights}


def test_orc_in_pieces_is_orc_where_no_batch_norm_sees_them() -> None:
    whole, pieces = run(recipe()), run(recipe(pieces=4))
    assert pieces["taught"] == whole["taught"]
    assert len(set(whole["taught"])) > 1
    torch.testing.assert_close(pieces["weights"], whole["weights"], rtol=1e-5, atol=1e-6)


def test_pieces_take_less_memory() -> None:
    images, labels = torch.randn(32, 3, 32, 32), torch.arange(32) % 10

    def peak(pieces: int) -> int:
        network = build("resnet8", num_classes=10)

        def step() -> None:
            answers = in_pieces(network, network, images, pieces) if pieces else network(images)
            torch.autograd.backward(nn.functional.cross_entropy(answers, labels))

        return count(step).peak_bytes

    assert peak(8) < peak(0) / 4


def test_what_cannot_be_divided_is_refused() -> None:
    networks = tiny_networks(GROUP)
    kd = KdConfig(kind="kd", temperature=4.0, beta=0.5)
    with pytest.raises(UserError, match="8 images of a batch cannot be divided into 3 pieces"):
        build_method(kd, GROUP, networks, recipe(pieces=3))
    one = OneConfig(kind="one", branches=2, temperature=3.0, weight=1.0)
    with pytest.raises(UserError, match="one computes whole batches only; `pieces` must be 1"):
        build_method(one, GROUP, networks, recipe(pieces=2))
