"""Losses on features: each against its formula, and one teacher that never changes."""

from __future__ import annotations

import copy
import io
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orc_repro.config import FeatureConfig
from orc_repro.distill import Feature
from orc_repro.distill.feature import FeatureLoss, Features, compared, look, of_one_size, stage_ends
from orc_repro.errors import UserError
from orc_repro.models import build
from orc_repro.models.layers import Classifier
from tests.distill.feature_formulas import FORMULAS
from tests.distill.peers_machine import divergence, ready, same, weights
from tests.helpers import SGD, group_of

with_torchdistill = pytest.mark.skipif(
    find_spec("torchdistill") is None, reason="torchdistill, an optional extra, is not installed"
)
GROUP = group_of("resnet8", pivot="resnet14x4")
LOSSES = ("fitnet", "at", "vid", "rkd", "pkt")


def config_of(loss: str, **changes: Any) -> FeatureConfig:
    values = {"weight": 0.7, "ce_weight": 1.0, "kd_weight": 0.0, "temperature": 4.0} | changes
    return FeatureConfig(kind="feature", loss=loss, **values)  # type: ignore[arg-type]


def network_of(name: str, seed: int) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "resnet14x4":  # a narrow stand-in with a resnet14's stages
            from orc_repro.models.resnet import resnet

            return resnet(14, (8, 24, 40, 48), num_classes=10, in_channels=3)
        network = build(name, num_classes=10)
    assert isinstance(network, Classifier)
    return network


def make(loss: str, seed: int = 0, **changes: Any) -> Feature:
    networks = {
        name: network_of(name, seed + i) for i, name in enumerate(("resnet14x4", "resnet8"))
    }
    method = Feature(config_of(loss, **changes), GROUP, networks, SGD)
    ready(method)
    return method


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(6, 3, 8, 8, generator=generator)
    return images, torch.randint(10, (6,), generator=generator)


def hooked(network: Classifier, images: Tensor, ends: tuple[int, ...]) -> Features:
    """Features by hooks on named modules, another way than the method's own."""
    stages: list[Tensor] = []
    hooks = [
        network.features[i].register_forward_hook(lambda _, __, made: stages.append(made))
        for i in ends
    ]
    pooled: list[Tensor] = []
    hooks.append(network.head.register_forward_pre_hook(lambda _, given: pooled.append(given[0])))
    logits = network(images)
    for hook in hooks:
        hook.remove()
    return Features(tuple(stages), pooled[0], logits)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("resnet20", [(16, 32), (32, 16), (64, 8)]),
        ("resnet8x4", [(64, 32), (128, 16), (256, 8)]),
        ("wrn_16_2", [(32, 32), (64, 16), (128, 8)]),
        ("vgg8", [(64, 32), (128, 16), (256, 8), (512, 4)]),
        ("mobilenetv2", [(12, 16), (16, 8), (48, 4), (160, 2)]),
        ("shufflenetv1", [(240, 16), (480, 8), (960, 4)]),
        ("shufflenetv2", [(116, 16), (232, 8), (464, 4)]),
    ],
)
def test_a_stage_ends_with_its_last_convolution(name: str, shapes: list[tuple[int, int]]) -> None:
    network = network_of(name, 0).eval()
    images = torch.randn(2, 3, 32, 32)
    ends = stage_ends(network.features)
    seen, expected = look(network, images, ends), hooked(network, images, ends)
    assert [(map_.shape[1], map_.shape[3]) for map_ in seen.stages] == shapes
    assert torch.equal(seen.logits, network(images))
    assert torch.equal(seen.pooled, expected.pooled)
    assert all(map(torch.equal, seen.stages, expected.stages))  # nothing after changed them


def test_a_wrns_last_stage_is_taken_before_the_norm_of_the_head() -> None:
    features = network_of("wrn_16_2", 0).features
    assert stage_ends(features)[-1] == len(features) - 3


def test_the_larger_of_two_maps_is_averaged() -> None:
    small, large = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 16, 16)
    averaged = F.adaptive_avg_pool2d(large, 4)
    for one, other in (of_one_size(small, large), of_one_size(large, small)[::-1]):
        assert torch.equal(one, small) and torch.allclose(other, averaged, atol=1e-6)
    assert of_one_size(small, small) == (small, small)


@with_torchdistill
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_is_that_of_the_formula(loss: str) -> None:
    method = make(loss, kd_weight=0.3, ce_weight=0.9)
    images, labels = batch()
    networks = copy.deepcopy(method.looked_at)
    adapters = copy.deepcopy(method.feature_loss).adapters
    student = hooked(networks["resnet8"], images, (1, 2, 3))
    with torch.no_grad():
        teacher = hooked(networks["resnet14x4"].eval(), images, (2, 4, 6))
    term = FORMULAS[loss](compared(loss, student), compared(loss, teacher), adapters)
    ce = F.cross_entropy(student.logits, labels)
    kd = divergence(student.logits, teacher.logits, 4.0)
    total = 0.9 * ce + 0.7 * term + 0.3 * kd
    learned = {f"n.{k}": p for k, p in networks["resnet8"].named_parameters()}
    learned |= {f"a.{k}": p for k, p in adapters.named_parameters()}
    gradients = torch.autograd.grad(total, list(learned.values()))
    result = method.step(images, labels, {})
    assert result.losses["resnet8/feature"].item() == pytest.approx(term.item(), rel=1e-4)
    assert result.losses["resnet8/loss"].item() == pytest.approx(total.item(), rel=1e-4)
    after = {f"n.{k}": p for k, p in method.networks["resnet8"].named_parameters()}
    after |= {f"a.{k}": p for k, p in method.feature_loss.adapters.named_parameters()}
    assert after.keys() == learned.keys()
    for (name, parameter), gradient in zip(learned.items(), gradients, strict=True):
        expected = parameter - 0.1 * (gradient + 1e-3 * parameter)
        assert torch.allclose(after[name], expected, rtol=1e-3, atol=2e-5), name


@with_torchdistill
@pytest.mark.parametrize("loss", ["at", "rkd", "pkt"])
def test_a_student_that_has_its_teachers_features_loses_nothing(loss: str) -> None:
    features = (torch.randn(5, 7),) if loss in ("rkd", "pkt") else (torch.randn(5, 7, 4, 4),)
    value = FeatureLoss(loss, (7,), (7,))(features, features)
    assert value.item() == pytest.approx(0, abs=1e-5)


@with_torchdistill
def test_only_rkd_waits_for_the_device() -> None:
    """Tensors without values: who asks for one cannot go on."""
    maps, vectors = (torch.empty(4, 7, 4, 4, device="meta"),), (torch.empty(4, 7, device="meta"),)
    for name in LOSSES:
        loss = FeatureLoss(name, (7,), (7,)).to("meta")
        features = vectors if name in ("rkd", "pkt") else maps
        if name == "rkd":
            with pytest.raises(NotImplementedError, match="nonzero"):
                loss(features, features)
        else:
            assert loss(features, features).shape == ()


@with_torchdistill
def test_what_is_left_out_is_not_what_its_paper_says() -> None:
    """If one of these fails, torchdistill has changed: docs/feature_methods.md is to be revised."""
    from torchdistill.losses.mid_level import CCKDLoss, CRDLoss, FSPLoss, SPKDLoss

    torch.manual_seed(0)
    s, t = torch.randn(4, 6), torch.randn(4, 6)
    by_length, by_sum = (
        [gram / gram.norm(p, dim=1, keepdim=True) for gram in (s @ s.T, t @ t.T)] for p in (2, 1)
    )
    sp = SPKDLoss("x", "x", "batchmean")({"x": {"output": s}}, {"x": {"output": t}}).item()
    assert sp == pytest.approx((by_sum[0] - by_sum[1]).square().sum().item() / 16)
    assert sp != pytest.approx((by_length[0] - by_length[1]).square().sum().item() / 16, rel=0.1)

    cc = CCKDLoss("x", "x", {"type": "bilinear"}, "batchmean")
    congruence = (s @ s.T - t @ t.T).square().sum() / 16
    got = cc({"x": {"output": s}}, {"x": {"output": t}})
    assert got.item() == pytest.approx(congruence.item() ** 0.5 / 4)  # not squared

    maps = [torch.randn(2, 3, 4, 4) for _ in range(4)]
    ends = ("student_first", "student_second", "teacher_first", "teacher_second")
    taps = {end: {"io": "output", "path": end} for end in ends}
    seen = {end: {"output": map_} for end, map_ in zip(ends, maps, strict=True)}
    ours, theirs = (torch.einsum("bihw,bjhw->bij", *maps[i : i + 2]) / 16 for i in (0, 2))
    flow = (ours - theirs).square().sum() / 2
    assert FSPLoss({"pair": taps})(seen, seen).item() != pytest.approx(flow.item(), rel=0.05)

    crd = CRDLoss("x", "x", "x", 6, 20, 4, 20)
    with pytest.raises(AttributeError):
        crd.draw(3)


@with_torchdistill
@pytest.mark.parametrize("loss", LOSSES)
def test_the_pivot_stays_as_it_is_and_only_the_target_learns(loss: str) -> None:
    method = make(loss)
    pivot, target = method.networks["resnet14x4"], method.networks["resnet8"]
    before = weights(method)
    adapters = copy.deepcopy(method.feature_loss.state_dict())
    pivot.train()  # as nobody should leave it
    for i in range(2):
        method.step(*batch(i), {})
    assert same(weights(method)["resnet14x4"], before["resnet14x4"])  # batch norm's too
    assert target.training
    after = target.state_dict()
    assert not any(
        torch.equal(after[k], before["resnet8"][k]) for k, _ in target.named_parameters()
    )
    for name, value in method.feature_loss.state_dict().items():
        assert not torch.equal(value, adapters[name]), name
    for module in (pivot, target, method.feature_loss):
        assert all(parameter.grad is None for parameter in module.parameters())
    assert not any(parameter.requires_grad for parameter in pivot.parameters())


@with_torchdistill
def test_adapters_start_the_same_whatever_was_drawn_before_and_draw_nothing() -> None:
    torch.manual_seed(1)
    first = make("vid", seed=0)
    state = torch.get_rng_state()
    second = make("vid", seed=5)
    assert same(first.feature_loss.state_dict(), second.feature_loss.state_dict())
    assert torch.equal(state, torch.get_rng_state())


@with_torchdistill
def test_building_moves_no_statistics_and_no_mode() -> None:
    networks: dict[str, nn.Module] = {n: network_of(n, 0) for n in ("resnet14x4", "resnet8")}
    before = copy.deepcopy(networks)
    Feature(config_of("fitnet"), GROUP, networks, SGD)
    for name, network in networks.items():
        assert same(network.state_dict(), before[name].state_dict()) and network.training


@with_torchdistill
@pytest.mark.parametrize("loss", ["fitnet", "vid", "at"])
def test_a_method_restored_from_its_state_goes_on_bit_for_bit(loss: str) -> None:
    whole, first, second = make(loss), make(loss), make(loss, seed=50)
    for i in range(4):
        whole.step(*batch(i), {})
    for i in range(2):
        first.step(*batch(i), {})
    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    second.load_state_dict(torch.load(saved, weights_only=True))
    for i in range(2, 4):
        second.step(*batch(i), {})
    assert same(weights(whole)["resnet8"], weights(second)["resnet8"])
    assert same(whole.feature_loss.state_dict(), second.feature_loss.state_dict())


@with_torchdistill
@pytest.mark.parametrize("loss", LOSSES)
def test_networks_of_another_style_are_paired(loss: str) -> None:
    group = group_of("shufflenetv1", pivot="resnet8x4")
    networks: dict[str, nn.Module] = {n: network_of(n, 0) for n in ("resnet8x4", "shufflenetv1")}
    method = Feature(config_of(loss), group, networks, SGD)
    ready(method)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, 16, 16, generator=generator)
    result = method.step(images, torch.tensor([0, 1, 2]), {})
    assert result.losses["shufflenetv1/feature"].isfinite()


def test_stages_that_do_not_pair_are_refused() -> None:
    group = group_of("resnet8", pivot="vgg8")
    networks: dict[str, nn.Module] = {n: network_of(n, 0) for n in ("vgg8", "resnet8")}
    with pytest.raises(
        UserError, match="at cannot pair the 3 stages of resnet8 with the 4 of vgg8"
    ):
        Feature(config_of("at"), group, networks, SGD)


def test_a_network_without_stages_is_refused() -> None:
    networks = {"resnet14x4": network_of("resnet14x4", 0), "resnet8": nn.Sequential()}
    with pytest.raises(UserError, match="cannot look into resnet8"):
        Feature(config_of("at"), GROUP, networks, SGD)


def test_without_torchdistill_one_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torchdistill", None)
    with pytest.raises(UserError) as caught:
        make("at")
    sentence = str(caught.value)
    assert 'pip install "orc-repro[features]"' in sentence and "\n" not in sentence
