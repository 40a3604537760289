"""ONE: shared lower layers, a gate, and an ensemble that teaches its branches."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from orc_repro.config import OneConfig, architecture_of
from orc_repro.distill import One
from orc_repro.distill.peers.one import last_stage_of
from orc_repro.errors import UserError
from orc_repro.models import build
from tests.distill.peers_machine import answers, divergence, ready, same, weights
from tests.helpers import SGD, group_of

GROUP = group_of("resnet14", "resnet8")
NAMES = ("resnet8", "resnet8.branch2", "resnet8.branch3")
CONFIG = OneConfig(kind="one", branches=3, temperature=3.0, weight=0.5)


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 3, 8, 8, generator=generator)
    return images, torch.randint(10, (8,), generator=generator)


def make(seed: int = 0) -> One:
    torch.manual_seed(seed)
    networks = {name: build(architecture_of(name), num_classes=10) for name in NAMES}
    method = One(CONFIG, GROUP, networks, SGD)
    ready(method)
    return method


@pytest.mark.parametrize(
    ("name", "kept"), [("resnet8", 1), ("resnet20", 3), ("wrn_16_2", 2), ("vgg8", 2)]
)
def test_a_branch_begins_where_images_last_become_smaller(name: str, kept: int) -> None:
    features = build(name, num_classes=10).features
    assert isinstance(features, nn.Sequential)
    cut = last_stage_of(features)
    images = torch.zeros(2, 3, 32, 32)
    sizes = []
    for module in features.eval():
        images = module(images)
        sizes.append(images.shape[-1])
    assert sizes[cut] < sizes[cut - 1] and set(sizes[cut:]) == {sizes[-1]}
    assert sum(isinstance(m, nn.Module) for m in list(features)[cut:]) >= kept


@pytest.mark.parametrize(
    "name", ["wrn_16_1", "vgg8", "mobilenetv2", "shufflenetv1", "shufflenetv2"]
)
def test_a_branch_of_any_small_network_says_what_the_whole_network_says(name: str) -> None:
    config = CONFIG.model_copy(update={"branches": 2})
    group = group_of(name, pivot=None)
    networks = {n: build(name, num_classes=10) for n in One.networks_of(group, config)}
    method = One(config, group, networks, SGD)
    ready(method)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 32, 32, generator=generator)
    labels = torch.arange(4)
    said = answers(networks, images)
    result = method.step(images, labels, {})
    for n, logits in said.items():
        expected = nn.functional.cross_entropy(logits, labels).item()
        assert result.losses[f"{n}/ce"].item() == pytest.approx(expected, abs=1e-4)


def test_branches_share_their_lower_layers_and_are_whole_networks() -> None:
    method = make()
    assert One.networks_of(GROUP, CONFIG) == method.names == NAMES
    first, second, third = (method.networks[name] for name in NAMES)
    assert first.features[0] is second.features[0] is third.features[0]  # type: ignore[index]
    assert first.features[-1] is not second.features[-1]  # type: ignore[index]
    assert not same(first.head.state_dict(), second.head.state_dict())  # type: ignore[union-attr]
    alone = build("resnet8", num_classes=10)
    alone.load_state_dict(second.state_dict())
    images, _ = batch()
    assert torch.equal(alone.eval()(images), copy.deepcopy(second).eval()(images))


def test_every_parameter_has_one_optimizer() -> None:
    method = make()
    held = [p for o in method.optimizers.values() for g in o.param_groups for p in g["params"]]
    everything = {id(p) for net in method.networks.values() for p in net.parameters()}
    everything |= {id(p) for p in method.gate.parameters()}
    assert len(held) == len({id(p) for p in held}) == len(everything)
    assert {id(p) for p in held} == everything


def test_the_loss_against_the_formula() -> None:
    method = make()
    images, labels = batch()
    networks = copy.deepcopy(method.networks)
    gate = copy.deepcopy(method.gate)
    with torch.no_grad():
        trunk = copy.deepcopy(list(networks["resnet8"].features)[: method.cut])  # type: ignore[arg-type]
        pooled = nn.Sequential(*trunk)(images).mean(dim=(2, 3))
        share = gate(pooled)
        said = {name: networks[name](images) for name in NAMES}
        ensemble = sum(share[:, i : i + 1] * said[name] for i, name in enumerate(NAMES))
    assert isinstance(ensemble, torch.Tensor)
    assert share.sum(1).tolist() == pytest.approx([1.0] * 8)
    result = method.step(images, labels, {})
    for name in NAMES:
        ce = nn.functional.cross_entropy(said[name], labels)
        expected = ce + 0.5 * divergence(said[name], ensemble, 3.0)
        assert result.losses[f"{name}/loss"].item() == pytest.approx(expected.item(), abs=1e-4)
    expected = nn.functional.cross_entropy(ensemble, labels)
    assert result.measures["ensemble/ce"].item() == pytest.approx(expected.item(), abs=1e-5)


def test_everything_learns_from_every_branch_and_statistics_move_once() -> None:
    method = make()
    before, gate = weights(method), copy.deepcopy(method.gate.state_dict())
    for i in range(3):
        method.step(*batch(i), {})
    for name, network in method.networks.items():
        assert network.training
        changed = {
            k for k, v in network.state_dict().items() if not torch.equal(v, before[name][k])
        }
        assert changed == set(before[name])
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.num_batches_tracked is not None
                assert module.num_batches_tracked.item() == 3
    assert not same(method.gate.state_dict(), gate)


def test_the_gradient_of_the_lower_layers_is_that_of_the_whole_loss() -> None:
    method = make()
    images, labels = batch()
    stem = next(iter(method.branches["resnet8"].features[0].parameters()))
    seen = []

    def look() -> None:
        assert stem.grad is not None
        seen.append(stem.grad.clone())

    method.optimizers["resnet8"].step = look  # type: ignore[method-assign, assignment]
    method.step(images, labels, {})

    again = make()
    stem = next(iter(again.branches["resnet8"].features[0].parameters()))
    logits = {name: again.networks[name](images) for name in NAMES}
    share = again.gate(again.branches["resnet8"].features[: again.cut](images).mean(dim=(2, 3)))
    ensemble = (share.unsqueeze(2) * torch.stack(list(logits.values()), 1)).sum(1)
    loss = nn.functional.cross_entropy(ensemble, labels)
    for z in logits.values():
        loss = loss + nn.functional.cross_entropy(z, labels)
        loss = loss + 0.5 * divergence(z, ensemble.detach(), 3.0)
    torch.autograd.backward(loss)
    assert torch.allclose(seen[0], stem.grad, atol=1e-5)  # type: ignore[arg-type]


def test_it_goes_on_to_the_same_bits() -> None:
    undisturbed, resumed = make(), make(seed=1)
    for i in range(6):
        if i == 3:
            saved = io.BytesIO()
            torch.save(undisturbed.state_dict(), saved)
        undisturbed.step(*batch(i), {})
    saved.seek(0)
    resumed.load_state_dict(torch.load(saved, weights_only=True))
    for i in range(3, 6):
        resumed.step(*batch(i), {})
    for name, found in weights(resumed).items():
        assert same(found, undisturbed.networks[name].state_dict())
    assert same(resumed.gate.state_dict(), undisturbed.gate.state_dict())


def test_a_network_that_cannot_branch_is_one_sentence() -> None:
    networks = {name: nn.Linear(2, 2) for name in NAMES}
    with pytest.raises(UserError, match="one cannot branch resnet8: it needs a network for small"):
        One(CONFIG, GROUP, networks, SGD)
