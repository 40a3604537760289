"""One ORC iteration against a second implementation, and its edge cases."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from orc_repro.config import OrcConfig
from orc_repro.distill import Ce, Kd, Orc, StepResult
from orc_repro.distill.orc.feedback import draw_partners, feedback_probabilities
from orc_repro.distill.roles import Roles
from tests.helpers import KD, SGD, group_of, orc_config, tiny_batch, tiny_networks

GROUP = group_of("resnet14", "resnet8", "resnet8.b")
STEPS = 4


def make(config: OrcConfig, seed: int = 0) -> Orc:
    method = Orc(config, GROUP, tiny_networks(GROUP, seed), SGD)
    method.set_learning_rate(1.0)
    method.train()
    return method


def draws_for(method: Orc, steps: int = STEPS, size: int = 8) -> list[dict[str, Tensor]]:
    drawn = method.draw_epoch(steps, size, torch.Generator().manual_seed(7))
    return [{name: values[i] for name, values in drawn.items()} for i in range(steps)]


def run(method: Orc, steps: int = STEPS) -> list[StepResult]:
    return [
        method.step(*tiny_batch(seed=i), draws) for i, draws in enumerate(draws_for(method, steps))
    ]


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL by its definition, T^2 times the mean over the batch."""
    p, q = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    return temperature**2 * (p * (p.log() - q.log())).sum(1).mean()


class PaperIteration:
    """The default iteration written phase by phase, every forward computed where it is named."""

    def __init__(self, networks: dict[str, nn.Module], config: OrcConfig) -> None:
        self.networks = networks
        self.temperature, self.beta = config.temperature, config.beta
        self.optimizers = {
            name: torch.optim.SGD(
                network.parameters(),
                lr=0.1 * (config.intensive.pivot_lr_scale if name == "resnet20" else 1),
                momentum=0.9,
                weight_decay=1e-3,
            )
            for name, network in networks.items()
        }

    def logits(self, name: str, images: Tensor) -> Tensor:
        network = copy.deepcopy(self.networks[name]).eval()
        return network(images).detach()  # type: ignore[no-any-return]

    def step(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers[name].step()

    def iterate(self, images: Tensor, labels: Tensor, draws: dict[str, Tensor]) -> str:
        cross_entropy = nn.functional.cross_entropy
        seen = {n: copy.deepcopy(self.networks[n]).train()(images).detach() for n in GROUP.students}
        each = torch.stack([cross_entropy(z, labels, reduction="none") for z in seen.values()])
        wrong = torch.stack([z.argmax(1) != labels for z in seen.values()])
        probabilities = feedback_probabilities("student_loss", each, wrong)
        partner = draw_partners(probabilities, draws["uniform"])
        lam = draws["mix_weight"]
        mixed = self.networks["resnet20"](lam * images + (1 - lam) * images[partner])
        self.step(
            "resnet20",
            lam * cross_entropy(mixed, labels) + (1 - lam) * cross_entropy(mixed, labels[partner]),
        )
        best = min(seen, key=lambda name: cross_entropy(seen[name], labels).item())
        for name in [best, *(n for n in GROUP.students if n != best)]:
            logits = self.networks[name](images)
            kd = divergence(logits, self.logits("resnet20", images), self.temperature)
            if name != best:
                kd = kd + divergence(logits, self.logits(best, images), self.temperature)
            loss = (1 - self.beta) * cross_entropy(logits, labels) + self.beta * kd
            self.step(name, loss)
        return best


def test_an_iteration_is_the_papers_written_phase_by_phase() -> None:
    config = orc_config()
    method = make(config)
    paper = PaperIteration(copy.deepcopy(method.networks), config)
    for i, draws in enumerate(draws_for(method)):
        result = method.step(*tiny_batch(i), draws)
        assert result.roles is not None
        assert result.roles.temporary_teachers == (paper.iterate(*tiny_batch(i), draws),)
    for name, network in method.networks.items():
        for key, value in network.state_dict().items():
            expected = paper.networks[name].state_dict()[key]
            assert torch.allclose(value.float(), expected.float(), atol=1e-5), (name, key)


def test_no_gradient_is_left_and_a_network_not_taught_is_not_moved() -> None:
    method = make(orc_config(intensive__material="none"))
    before = weights(method.networks["resnet20"])
    run(method)
    assert same(weights(method.networks["resnet20"]), before)
    assert not method.networks["resnet20"].training
    for network in method.networks.values():
        assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("batch_norm", ["running", "batch"])
def test_teaching_leaves_the_pivots_statistics_alone(batch_norm: str) -> None:
    method = make(orc_config(intensive__material="none", teaching__pivot_batch_norm=batch_norm))
    statistics = weights(method.networks["resnet20"][1])  # type: ignore[index]
    run(method)
    after = weights(method.networks["resnet20"][1])  # type: ignore[index]
    assert torch.equal(statistics["running_mean"], after["running_mean"])
    assert torch.equal(statistics["running_var"], after["running_var"])


def test_only_the_mixup_moves_the_pivots_statistics_once_an_iteration() -> None:
    method = make(orc_config())
    run(method, steps=3)
    for network in method.networks.values():
        assert network[1].num_batches_tracked.item() == 3  # type: ignore[index]


def test_every_network_is_in_training_mode_after_an_iteration() -> None:
    method = make(orc_config(ranking__batch_norm="eval"))
    run(method, steps=1)
    assert all(network.training for network in method.networks.values())


def test_nobody_errs_and_the_pivot_learns_the_batch_as_it_is() -> None:
    method = make(orc_config())
    images, _ = tiny_batch()
    answers = {n: method.networks[n](images).argmax(1) for n in GROUP.students}
    for name in GROUP.students:  # make all students right by giving them one answer
        layer = method.networks[name][4]  # type: ignore[index]
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    labels = torch.zeros(8, dtype=torch.long)
    with torch.no_grad():
        expected = nn.functional.cross_entropy(
            copy.deepcopy(method.networks["resnet20"])(images), labels
        )
    result = method.step(images, labels, draws_for(method)[0])
    assert answers and result.measures["feedback/wrong_by_anyone"].item() == 0
    assert result.losses["resnet20/mixed_ce"].item() == pytest.approx(expected.item(), abs=1e-6)
    assert all(math.isfinite(loss.item()) for loss in result.losses.values())


def test_everyone_errs_everywhere() -> None:
    method = make(orc_config())
    images, _ = tiny_batch()
    for name in GROUP.students:
        layer = method.networks[name][4]  # type: ignore[index]
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    result = method.step(images, torch.ones(8, dtype=torch.long), draws_for(method)[0])
    assert result.measures["feedback/wrong_by_anyone"].item() == 1
    assert {name: int(count) for name, count in result.correct.items()} == dict.fromkeys(
        GROUP.students, 0
    )
    assert all(math.isfinite(loss.item()) for loss in result.losses.values())


def test_a_student_that_goes_nan_is_never_elected_and_spoils_nobody() -> None:
    method = make(orc_config())
    with torch.no_grad():
        method.networks["resnet14"][4].bias.fill_(math.nan)  # type: ignore[index]
    for result in run(method):
        assert result.roles is not None and "resnet14" not in result.roles.temporary_teachers
        assert math.isnan(result.scores["resnet14"])
        assert math.isnan(result.losses["resnet14/loss"].item())
        for name in ("resnet20", "resnet8", "resnet8.b"):
            assert math.isfinite(result.losses[f"{name}/loss"].item())


def test_all_students_nan_and_the_pivot_teaches_alone() -> None:
    method = make(orc_config())
    for name in GROUP.students:
        with torch.no_grad():
            method.networks[name][4].bias.fill_(math.nan)  # type: ignore[index]
    result = run(method, steps=1)[0]
    assert result.roles == Roles("resnet20", (), GROUP.students)
    assert math.isfinite(result.losses["resnet20/loss"].item())


def test_twins_tie_and_the_first_declared_teaches() -> None:
    networks = tiny_networks(GROUP)
    networks["resnet8.b"] = copy.deepcopy(networks["resnet8"])
    networks["resnet14"] = copy.deepcopy(networks["resnet8"])
    method = Orc(orc_config(), GROUP, networks, SGD)
    method.set_learning_rate(1.0)
    method.train()
    result = run(method, steps=1)[0]
    assert result.roles is not None and result.roles.temporary_teachers == ("resnet14",)


def test_a_group_of_one_is_taught_privately_for_ever_and_equals_kd() -> None:
    group = group_of("resnet8")
    config = orc_config(intensive__material="none")
    ours = Orc(config, group, tiny_networks(group), SGD)
    kd = Kd(KD, group, tiny_networks(group), SGD)
    for method in (ours, kd):
        method.set_learning_rate(1.0)
        method.train()
    for i, draws in enumerate(draws_for(ours)):
        result = ours.step(*tiny_batch(i), draws)
        kd.step(*tiny_batch(i), {})
        assert result.roles == Roles("resnet20", ("resnet8",), ())
    assert same(weights(ours.networks["resnet8"]), weights(kd.networks["resnet8"]))


def test_with_all_teaching_off_every_student_learns_as_if_alone() -> None:
    config = orc_config(
        intensive__material="none", teaching__private=False, teaching__group="none", beta=0.0
    )
    method = make(config)
    run(method)
    for name in GROUP.students:
        alone = Ce(None, group_of(name), {name: tiny_networks(GROUP)[name]}, SGD)  # type: ignore[arg-type]
        alone.set_learning_rate(1.0)
        alone.train()
        for i in range(STEPS):
            alone.step(*tiny_batch(i), {})
        assert same(weights(method.networks[name]), weights(alone.networks[name]))


def test_simultaneous_teaching_uses_the_answers_from_before_anyone_learned() -> None:
    config = orc_config(teaching__order="simultaneous")
    method = make(config)
    images, labels = tiny_batch()
    with torch.no_grad():
        pivot = copy.deepcopy(method.networks["resnet20"]).eval()(images)
        students = {n: copy.deepcopy(method.networks[n])(images) for n in GROUP.students}
    result = method.step(images, labels, draws_for(method)[0])
    assert result.roles is not None
    (teacher,) = result.roles.temporary_teachers
    for name in result.roles.students:
        expected = divergence(students[name], students[teacher], 4.0)
        assert result.losses[f"{name}/kd_temporary"].item() == pytest.approx(
            expected.item(), abs=1e-5
        )
    for name in GROUP.students:
        expected = divergence(students[name], pivot, 4.0)
        assert result.losses[f"{name}/kd_pivot"].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("batch_norm", ["running", "batch"])
def test_the_temporary_teacher_answers_after_its_own_step(batch_norm: str) -> None:
    method = make(orc_config(teaching__temporary_batch_norm=batch_norm))
    images, labels = tiny_batch()
    students = {n: copy.deepcopy(method.networks[n])(images).detach() for n in GROUP.students}
    result = method.step(images, labels, draws_for(method)[0])
    assert result.roles is not None
    (teacher,) = result.roles.temporary_teachers
    taught = copy.deepcopy(method.networks[teacher]).train(batch_norm == "batch")
    answer = taught(images).detach()
    for name in result.roles.students:
        expected = divergence(students[name], answer, 4.0)
        got = result.losses[f"{name}/kd_temporary"].item()
        assert got == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize(
    ("way", "parts"),
    [
        ("individual", 0.5 * 1.0),
        ("mean", 0.5 * 0.5),
    ],
)
def test_group_teaching_sums_the_teachers_or_takes_their_mean(way: str, parts: float) -> None:
    result = run(make(orc_config(teaching__group=way)), steps=1)[0]
    assert result.roles is not None
    for name in result.roles.students:
        terms = {part: result.losses[f"{name}/{part}"].item() for part in ("ce", "loss")}
        kd = sum(result.losses[f"{name}/kd_{who}"].item() for who in ("pivot", "temporary"))
        assert terms["loss"] == pytest.approx(0.5 * terms["ce"] + parts * kd, abs=1e-5)


@pytest.mark.parametrize("way", ["ensemble_logits", "ensemble_probabilities"])
def test_an_ensemble_teaches_with_one_term(way: str) -> None:
    result = run(make(orc_config(teaching__group=way)), steps=1)[0]
    assert result.roles is not None
    for name in result.roles.students:
        assert f"{name}/kd_ensemble" in result.losses
        assert f"{name}/kd_pivot" not in result.losses


def test_feedback_alone_shows_the_pivot_only_feedback_samples() -> None:
    method = make(orc_config(intensive__material="feedback"))
    images, labels = tiny_batch()
    draws = draws_for(method)[0]
    with torch.no_grad():
        answers = torch.stack([copy.deepcopy(method.networks[n])(images) for n in GROUP.students])
        each = torch.stack(
            [nn.functional.cross_entropy(z, labels, reduction="none") for z in answers]
        )
        partner = draw_partners(
            feedback_probabilities("student_loss", each, answers.argmax(2) != labels),
            draws["uniform"],
        )
        pivot = copy.deepcopy(method.networks["resnet20"])
        expected = nn.functional.cross_entropy(pivot(images[partner]), labels[partner])
    result = method.step(images, labels, draws)
    assert result.losses["resnet20/mixed_ce"].item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_pivot_learns_at_its_own_rate() -> None:
    method = make(orc_config(intensive__pivot_lr_scale=0.25))
    method.set_learning_rate(0.1)
    rates = {name: opt.param_groups[0]["lr"] for name, opt in method.optimizers.items()}
    assert rates == pytest.approx(
        {"resnet20": 0.0025, "resnet14": 0.01, "resnet8": 0.01, "resnet8.b": 0.01}
    )


def test_a_pivot_with_learning_rate_zero_is_frozen() -> None:
    method = make(orc_config(intensive__pivot_lr_scale=0.0))
    before = weights(method.networks["resnet20"])
    run(method)
    assert same(weights(method.networks["resnet20"]), before)


@pytest.mark.parametrize(("draw_per", "shape"), [("batch", (500,)), ("sample", (500, 8))])
def test_mixup_weights_are_beta_distributed(draw_per: str, shape: tuple[int, ...]) -> None:
    method = make(orc_config(mixup={"alpha": 0.4, "draw_per": draw_per}))
    drawn = method.draw_epoch(500, 8, torch.Generator().manual_seed(0))
    weight = drawn["mix_weight"]
    assert weight.shape == shape and drawn["uniform"].shape == (500, 8)
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)).
    assert weight.mean().item() == pytest.approx(0.5, abs=0.06)
    assert weight.var().item() == pytest.approx(1 / 7.2, abs=0.015)


def test_the_same_generator_gives_the_same_draws() -> None:
    method = make(orc_config())
    for one, other in zip(draws_for(method), draws_for(method), strict=True):
        assert same(one, other)


def test_a_method_restored_from_its_state_goes_on_bit_for_bit() -> None:
    config = orc_config(ranking__smoothing=0.9, promotion__margin=0.01)
    whole, first = make(config), make(config)
    drawn = draws_for(whole, 6)
    for i in range(6):
        whole.step(*tiny_batch(i), drawn[i])
    for i in range(3):
        first.step(*tiny_batch(i), drawn[i])
    state: dict[str, Any] = copy.deepcopy(first.state_dict())
    second = make(config, seed=50)
    second.load_state_dict(state)
    for i in range(3, 6):
        second.step(*tiny_batch(i), drawn[i])
    assert second.roles == whole.roles and second.memory == whole.memory
    for name in whole.networks:
        assert same(weights(second.networks[name]), weights(whole.networks[name]))
