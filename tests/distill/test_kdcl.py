"""KDCL: four ensembles against numbers by hand and brute force; the loss; the memory."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from orc_repro.config import KdclConfig
from orc_repro.distill import Kdcl
from orc_repro.distill.peers import ensembles
from orc_repro.validation import parse
from tests.distill.peers_machine import answers, assert_resumes, divergence, ready
from tests.helpers import SGD, group_of, tiny_batch, tiny_networks

GROUP = group_of("resnet14", "resnet8")
WAYS = ["naive", "linear", "minlogit", "general"]


def make(**changes: Any) -> Kdcl:
    content = {
        "kind": "kdcl",
        "members": "group",
        "ensemble": "naive",
        "temperature": 2.0,
        "weight": 0.5,
    } | changes
    method = Kdcl(parse(KdclConfig, content, "test"), GROUP, tiny_networks(GROUP), SGD)
    ready(method)
    return method


def some_logits(networks: int, size: float, images: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(networks)
    logits = size * torch.randn(networks, images, 4, generator=generator)
    return logits, torch.randint(4, (images,), generator=generator)


def test_naive_takes_the_best_network_image_by_image() -> None:
    logits = torch.tensor([[[2.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]])
    # The first is surer of class 0: right on the first image, worse on the second.
    found = ensembles.naive(logits, torch.tensor([0, 1]))
    assert found.tolist() == [[2.0, 0.0], [1.0, 0.0]]


def test_minlogit_is_the_lowest_distance_to_the_true_class() -> None:
    logits = torch.tensor([[[3.0, 1.0, 2.0]], [[5.0, 1.0, 6.0]]])
    # True class 0: distances (0, -2, -1) and (0, -4, 1).
    assert ensembles.minlogit(logits, torch.tensor([0])).tolist() == [[0.0, -4.0, -1.0]]


@pytest.mark.parametrize("size", [0.1, 3.0, 10.0])
@pytest.mark.parametrize("networks", [2, 3])
def test_linear_is_as_good_as_the_best_weights_of_a_fine_grid(networks: int, size: float) -> None:
    logits, labels = some_logits(networks, size)
    ensemble = ensembles.linear(logits, labels)
    found = nn.functional.cross_entropy(ensemble, labels, reduction="none")
    best = torch.full_like(found, math.inf)
    ticks = torch.linspace(0, 1, 101)
    for a in ticks:
        for b in ticks if networks == 3 else [1 - a]:
            if a + b > 1 + 1e-6:
                continue
            w = torch.stack([a, b, 1 - a - b][:networks]).clamp(min=0)
            mixed = (w.view(-1, 1, 1) * logits).sum(0)
            best = torch.minimum(best, nn.functional.cross_entropy(mixed, labels, reduction="none"))
    assert (found - best).max().item() < (0.3 if size > 3 else 0.05)
    assert (found - best).mean().item() < 0.01
    # It is a convex combination: the weights that give it are positive and their sum is 1.
    columns = torch.cat([logits.permute(1, 2, 0), torch.ones(len(labels), 1, networks)], dim=1)
    given = torch.cat([ensemble, torch.ones(len(labels), 1)], dim=1).unsqueeze(2)
    weights = torch.linalg.lstsq(columns, given).solution
    assert torch.allclose(columns @ weights, given, atol=1e-3)
    assert weights.min().item() > -1e-3
    alone = torch.stack([nn.functional.cross_entropy(z, labels, reduction="none") for z in logits])
    assert (found <= alone.amin(0) + 1e-5).all()


def test_general_weights_by_hand() -> None:
    # Independent errors of variance 1 and 3: weights 3/4 and 1/4.
    found = ensembles.general_weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]]).double())
    assert found.tolist() == pytest.approx([0.75, 0.25], abs=2e-3)
    # Variances 1 and 2, covariance 0.5: (2 - 0.5, 1 - 0.5) / (1 + 2 - 2 * 0.5) = (0.75, 0.25).
    found = ensembles.general_weights(torch.tensor([[1.0, 0.5], [0.5, 2.0]]).double())
    assert found.tolist() == pytest.approx([0.75, 0.25], abs=2e-3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_networks_that_err_alike_or_not_at_all_weigh_the_same(value: float) -> None:
    found = ensembles.general_weights(torch.full((3, 3), value).double())
    assert found.tolist() == pytest.approx([1 / 3] * 3, abs=1e-5)


def test_products_of_errors_by_hand() -> None:
    # Uniform over two classes: the error is (-1/2, 1/2), its product with itself 1/2.
    logits = torch.zeros(2, 1, 2)
    logits[1, 0, 0] = 100.0  # certain and right: no error
    found = ensembles.error_products(logits, torch.tensor([0]))
    assert found.flatten().tolist() == pytest.approx([0.5, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("way", WAYS)
def test_everyone_learns_from_the_ensemble_and_it_from_nobody(way: str) -> None:
    method = make(ensemble=way)
    images, labels = tiny_batch()
    said = answers(method.networks, images)
    stacked = torch.stack([said[name] for name in method.names])
    teacher = stacked.mean(0)  # general: in the first epoch all weigh the same
    if way != "general":
        teacher = getattr(ensembles, way)(stacked, labels)
    result = method.step(images, labels, {})
    for name in method.names:
        ce = nn.functional.cross_entropy(said[name], labels)
        expected = ce + 0.5 * divergence(said[name], teacher, 2.0)
        assert result.losses[f"{name}/loss"].item() == pytest.approx(expected.item(), abs=1e-4)
    expected = nn.functional.cross_entropy(teacher, labels)
    assert result.measures["ensemble/ce"].item() == pytest.approx(expected.item(), abs=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_statistics_move_once_a_step_and_everyone_stays_in_training_mode(way: str) -> None:
    method = make(ensemble=way)
    for i in range(3):
        method.step(*tiny_batch(i), {})
    for network in method.networks.values():
        assert network.training
        assert network[1].num_batches_tracked.item() == 3  # type: ignore[index]


def test_the_general_ensemble_is_weighed_anew_after_each_epoch() -> None:
    method = make(ensemble="general")
    errors = []
    for i in range(4):
        images, labels = tiny_batch(i)
        said = answers(method.networks, images)
        stacked = torch.stack([said[name] for name in method.names])
        errors.append(stacked.softmax(2) - nn.functional.one_hot(labels, 3))
        assert method.weights.tolist() == pytest.approx([1 / 3] * 3)
        method.step(images, labels, {})
    e = torch.cat(errors, dim=1).double().flatten(1)  # [3, images x classes]
    products = e @ e.T / 32
    products += 1e-3 * products.diagonal().mean() * torch.eye(3)
    inverse = torch.linalg.inv(products)
    expected = inverse.sum(1) / inverse.sum()
    assert method.weights.tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    assert method.weights.tolist() != pytest.approx([1 / 3] * 3, abs=0.01)
    assert method.seen == 0 and not method.products.any()


@pytest.mark.parametrize("at", [4, 6])
def test_it_goes_on_to_the_same_bits_also_within_an_epoch(at: int) -> None:
    assert_resumes(Kdcl, make(ensemble="general"), make(ensemble="general"), at)
