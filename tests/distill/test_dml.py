"""Deep mutual learning: the loss, who is asked when, and who learns."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from orc_repro.config import CeConfig, DmlConfig, Group
from orc_repro.distill import Ce, Dml
from orc_repro.validation import parse
from tests.distill.peers_machine import answers, assert_resumes, divergence, ready, same, weights
from tests.helpers import SGD, group_of, tiny_batch, tiny_networks

GROUP = group_of("resnet14", "resnet8")
EVERYONE = ("resnet20", "resnet14", "resnet8")


def make(group: Group = GROUP, **changes: Any) -> Dml:
    content = {
        "kind": "dml",
        "members": "group",
        "temperature": 2.0,
        "weight": 0.5,
        "order": "simultaneous",
    } | changes
    config = parse(DmlConfig, content, "test")
    names = Dml.networks_of(group, config)
    networks = {n: net for n, net in tiny_networks(group).items() if n in names}
    method = Dml(config, group, networks, SGD)
    ready(method)
    return method


def test_the_members_are_the_students_with_or_without_the_pivots_architecture() -> None:
    assert make().names == EVERYONE
    assert make(members="students").names == ("resnet14", "resnet8")
    assert make(group_of("resnet8", pivot=None)).names == ("resnet8",)
    assert Dml.teachers_of(GROUP) == ()


def test_each_learns_from_the_mean_divergence_to_what_its_peers_said() -> None:
    method = make()
    images, labels = tiny_batch()
    said = answers(method.networks, images)
    result = method.step(images, labels, {})
    for name in EVERYONE:
        peers = [divergence(said[name], said[peer], 2.0) for peer in EVERYONE if peer != name]
        ce = nn.functional.cross_entropy(said[name], labels)
        expected = ce + 0.5 * (peers[0] + peers[1]) / 2
        assert result.losses[f"{name}/loss"].item() == pytest.approx(expected.item(), abs=1e-5)
        assert result.losses[f"{name}/ce"].item() == pytest.approx(ce.item(), abs=1e-5)


def test_in_sequence_those_before_are_asked_again_and_those_after_are_not() -> None:
    method = make(order="sequential")
    images, labels = tiny_batch()
    said = answers(method.networks, images)
    result = method.step(images, labels, {})
    # What the first says after its step; with its own statistics of this batch.
    first = answers({"resnet20": method.networks["resnet20"].train()}, images)["resnet20"]
    expected = (
        divergence(said["resnet14"], first, 2.0)
        + divergence(said["resnet14"], said["resnet8"], 2.0)
    ) / 2
    assert result.losses["resnet14/kd_peers"].item() == pytest.approx(expected.item(), abs=1e-5)
    assert not torch.allclose(first, said["resnet20"])


def test_a_peers_divergence_moves_the_learner_and_not_the_peer() -> None:
    method = make(weight=1000.0)
    alone = {name: make(weight=0.0).networks[name] for name in EVERYONE}
    images, labels = tiny_batch()
    logits = {name: net(images) for name, net in method.networks.items()}
    parts: dict[str, torch.Tensor] = {}
    said = {name: answer.detach() for name, answer in logits.items()}
    loss = method._loss("resnet8", logits["resnet8"], labels, said, parts)
    torch.autograd.backward(loss)
    assert all(p.grad is not None for p in method.networks["resnet8"].parameters())
    for name in ("resnet20", "resnet14"):
        assert all(p.grad is None for p in method.networks[name].parameters())
        assert same(method.networks[name][0].state_dict(), alone[name][0].state_dict())  # type: ignore[index]


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_statistics_move_once_a_step_and_everyone_stays_in_training_mode(order: str) -> None:
    method = make(order=order)
    for i in range(3):
        method.step(*tiny_batch(i), {})
    for network in method.networks.values():
        assert network.training
        assert network[1].num_batches_tracked.item() == 3  # type: ignore[index]
        assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_one_network_alone_is_plain_training(order: str) -> None:
    group = group_of("resnet8", pivot=None)
    ours = make(group, order=order)
    network = {"resnet8": copy.deepcopy(tiny_networks(group)["resnet8"])}
    ce = Ce(CeConfig(kind="ce"), group, network, SGD)
    ready(ce)
    for i in range(4):
        ours.step(*tiny_batch(i), {})
        ce.step(*tiny_batch(i), {})
    assert same(weights(ours)["resnet8"], weights(ce)["resnet8"])


def test_it_goes_on_to_the_same_bits() -> None:
    assert_resumes(Dml, make(order="sequential"), make(order="sequential"), at=6)
