"""kd, takd and dgkd: which teachers, which loss, and that only the target learns."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from orc_repro.config import DgkdConfig, Group, KdConfig, TakdConfig
from orc_repro.distill import METHODS, Dgkd, Kd, Method, Takd
from tests.helpers import SGD, group_of, orc_config, tiny_batch, tiny_networks

CHAIN = group_of("resnet14", "resnet8.a", "resnet8")
KD = KdConfig(kind="kd", temperature=3.0, beta=0.7)
TAKD = TakdConfig(kind="takd", temperature=3.0, beta=0.7)


def dense(drop_probability: float) -> DgkdConfig:
    return DgkdConfig(kind="dgkd", temperature=3.0, beta=0.7, drop_probability=drop_probability)


def make(kind: type[Kd], config: KdConfig | TakdConfig | DgkdConfig, group: Group = CHAIN) -> Kd:
    networks = {
        n: v for n, v in tiny_networks(CHAIN).items() if n in kind.networks_of(group, config)
    }
    method = kind(config, group, networks, SGD)
    method.set_learning_rate(1.0)
    method.train()
    return method


def draws_of(method: Method, steps: int = 1) -> list[dict[str, Tensor]]:
    drawn = method.draw_epoch(steps, 8, torch.Generator().manual_seed(3))
    return [{name: values[i] for name, values in drawn.items()} for i in range(steps)]


def kl_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    p, q = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    return temperature**2 * (p * (p / q).log()).sum(1).mean()


def expected_parts(method: Kd, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy and each teacher's term, before the step; teachers with running statistics."""
    with torch.no_grad():
        student = copy.deepcopy(method.networks[method.target]).train()(images)
        teachers = {n: copy.deepcopy(method.networks[n]).eval()(images) for n in method.teachers}
        terms = {name: kl_loss(student, answer, 3.0) for name, answer in teachers.items()}
        return nn.functional.cross_entropy(student, labels), terms


@pytest.mark.parametrize(
    ("kind", "config", "teachers"),
    [
        (Kd, KD, ("resnet20",)),
        (Takd, TAKD, ("resnet8.a",)),
        (Dgkd, dense(0.0), ("resnet20", "resnet14", "resnet8.a")),
    ],
)
def test_only_the_target_learns_and_teachers_stay_as_they_were_trained(
    kind: type[Kd], config: KdConfig, teachers: tuple[str, ...]
) -> None:
    method = make(kind, config)
    assert method.teachers == teachers == kind.teachers_of(CHAIN)
    assert kind.networks_of(CHAIN, config) == (*teachers, "resnet8")
    before = {name: copy.deepcopy(net.state_dict()) for name, net in method.networks.items()}
    for i, draws in enumerate(draws_of(method, 3)):
        method.step(*tiny_batch(i), draws)
    assert set(method.optimizers) == {"resnet8"}
    for name, network in method.networks.items():
        after = network.state_dict()
        assert network.training is (name == "resnet8")
        for key, value in before[name].items():
            assert torch.equal(value, after[key]) is (name != "resnet8")
        if name != "resnet8":
            assert all(p.grad is None and not p.requires_grad for p in network.parameters())


def test_the_target_of_a_chain_is_taught_by_its_last_assistant() -> None:
    method = make(Takd, TAKD)
    images, labels = tiny_batch()
    ce, terms = expected_parts(method, images, labels)
    result = method.step(images, labels, {})
    assert result.losses["resnet8/kd_assistants"].item() == pytest.approx(
        terms["resnet8.a"].item(), abs=1e-5
    )
    loss = 0.3 * ce + 0.7 * terms["resnet8.a"]
    assert result.losses["resnet8/loss"].item() == pytest.approx(loss.item(), abs=1e-5)


def test_a_chain_without_assistants_is_kd() -> None:
    group = group_of("resnet8")
    methods = [make(Takd, TAKD, group), make(Kd, KD, group)]
    for i in range(3):
        for method in methods:
            method.step(*tiny_batch(i), {})
    ours, theirs = (method.networks["resnet8"].state_dict() for method in methods)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_the_chain_up_to_an_assistant_makes_it_the_target() -> None:
    assert CHAIN.assistants == ("resnet14", "resnet8.a")
    part = CHAIN.up_to("resnet8.a")
    assert (part.pivot, part.students, part.target) == (
        "resnet20",
        ("resnet14", "resnet8.a"),
        "resnet8.a",
    )
    assert Takd.teachers_of(part) == ("resnet14",)
    assert Dgkd.teachers_of(part) == ("resnet20", "resnet14")
    assert Takd.teachers_of(CHAIN.up_to("resnet14")) == ("resnet20",)


def test_dense_guidance_without_drop_sums_every_teacher() -> None:
    method = make(Dgkd, dense(0.0))
    images, labels = tiny_batch()
    ce, terms = expected_parts(method, images, labels)
    result = method.step(images, labels, draws_of(method)[0])
    # Three teachers: three times (1 - 0.7) of cross-entropy, 0.7 of each term.
    loss = 3 * 0.3 * ce + 0.7 * (terms["resnet20"] + terms["resnet14"] + terms["resnet8.a"])
    assert result.losses["resnet8/loss"].item() == pytest.approx(loss.item(), abs=1e-5)


def test_dropped_assistants_have_no_term_and_the_pivot_always_has() -> None:
    images, labels = tiny_batch()
    method = make(Dgkd, dense(0.5))
    ce, terms = expected_parts(method, images, labels)
    draws = {"assistants": torch.tensor([0.2, 0.5])}  # 0.2 < 0.5 is dropped, 0.5 stays
    result = method.step(images, labels, draws)
    loss = 3 * 0.3 * ce + 0.7 * (terms["resnet20"] + terms["resnet8.a"])
    assert result.losses["resnet8/loss"].item() == pytest.approx(loss.item(), abs=1e-5)

    everyone = make(Dgkd, dense(1.0))
    result = everyone.step(images, labels, draws_of(everyone)[0])
    loss = 3 * 0.3 * ce + 0.7 * terms["resnet20"]
    assert result.losses["resnet8/loss"].item() == pytest.approx(loss.item(), abs=1e-5)


def test_assistants_themselves_are_trained_without_drop() -> None:
    assert Dgkd.for_assistants(dense(0.75)) == dense(0.0)
    for kind in set(METHODS.values()) - {Dgkd}:
        assert kind.for_assistants(TAKD) == TAKD


def test_drops_come_as_often_as_they_should() -> None:
    drawn = make(Dgkd, dense(0.25)).draw_epoch(10_000, 8, torch.Generator().manual_seed(0))
    assert drawn["assistants"].shape == (10_000, 2)
    assert (drawn["assistants"] < 0.25).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_group_teaching_by_a_pivot_that_stays_with_one_student_is_kd() -> None:
    group = group_of("resnet8")
    config = orc_config(
        temperature=3.0,
        beta=0.7,
        intensive__material="none",
        teaching__private=False,
        promotion__top_k=0,
    )
    networks = tiny_networks(CHAIN)
    ours = METHODS["orc"](config, group, {n: networks[n] for n in ("resnet20", "resnet8")}, SGD)  # type: ignore[arg-type]
    ours.set_learning_rate(1.0)
    ours.train()
    kd = make(Kd, KD, group)
    for i, draws in enumerate(draws_of(ours, 3)):
        ours.step(*tiny_batch(i), draws)
        kd.step(*tiny_batch(i), {})
    left, right = (m.networks["resnet8"].state_dict() for m in (ours, kd))
    assert all(torch.equal(left[key], right[key]) for key in right)
