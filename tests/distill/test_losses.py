"""Every loss against a number worked out by hand or an independent formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from orc_repro.distill import losses


def by_hand_kl(teacher: list[float], student: list[float]) -> float:
    """KL(teacher || student) of two probability vectors, in Python floats."""
    return sum(t * math.log(t / s) for t, s in zip(teacher, student, strict=True))


def logits_of(*rows: list[float]) -> Tensor:
    """Logits whose softmax is the given probabilities."""
    return torch.tensor(rows).log()


def test_cross_entropy_is_minus_log_of_the_labels_probability() -> None:
    values = losses.cross_entropy(
        logits_of([0.5, 0.25, 0.25], [0.1, 0.1, 0.8]), torch.tensor([0, 2])
    )
    assert values.tolist() == pytest.approx([math.log(2), -math.log(0.8)], abs=1e-6)


def test_distillation_is_the_mean_over_the_batch_of_the_sum_over_classes() -> None:
    student = logits_of([0.5, 0.5], [0.9, 0.1])
    teacher = logits_of([0.8, 0.2], [0.6, 0.4])
    expected = (by_hand_kl([0.8, 0.2], [0.5, 0.5]) + by_hand_kl([0.6, 0.4], [0.9, 0.1])) / 2
    got = losses.distillation(student, losses.soft_targets(teacher, 1.0), 1.0)
    assert got.item() == pytest.approx(expected, abs=1e-6)


def test_distillation_at_temperature_two_is_four_times_the_divergence_of_the_roots() -> None:
    # Halving the logits takes the square root of the odds: 0.8/0.2 = 4 -> 2, so (2/3, 1/3).
    student, teacher = logits_of([0.5, 0.5]), logits_of([0.8, 0.2])
    expected = 4 * by_hand_kl([2 / 3, 1 / 3], [0.5, 0.5])
    got = losses.distillation(student, losses.soft_targets(teacher, 2.0), 2.0)
    assert got.item() == pytest.approx(expected, abs=1e-6)


def test_distillation_at_temperature_one_is_cross_entropy_with_the_teacher_minus_its_entropy() -> (
    None
):
    student, teacher = torch.randn(6, 5), torch.randn(6, 5)
    probabilities = teacher.softmax(1)
    cross = -(probabilities * student.log_softmax(1)).sum(1).mean()
    entropy = -(probabilities * teacher.log_softmax(1)).sum(1).mean()
    got = losses.distillation(student, losses.soft_targets(teacher, 1.0), 1.0)
    assert got.item() == pytest.approx((cross - entropy).item(), abs=1e-6)


def test_distillation_does_not_depend_on_the_number_of_copies_of_a_batch() -> None:
    student, teacher = torch.randn(4, 7), torch.randn(4, 7)
    once = losses.distillation(student, losses.soft_targets(teacher, 4.0), 4.0)
    thrice = losses.distillation(
        student.repeat(3, 1), losses.soft_targets(teacher.repeat(3, 1), 4.0), 4.0
    )
    assert thrice.item() == pytest.approx(once.item(), rel=1e-5)


def test_distillation_of_agreeing_bfloat16_logits_is_not_negative() -> None:
    teacher = torch.randn(64, 100, dtype=torch.bfloat16)
    got = losses.distillation(teacher.clone(), losses.soft_targets(teacher, 4.0), 4.0)
    assert got.dtype == torch.float32
    assert abs(got.item()) < 1e-6


def test_no_gradient_reaches_a_teacher() -> None:
    student = torch.randn(3, 4, requires_grad=True)
    teacher = torch.randn(3, 4, requires_grad=True)
    losses.distillation(student, losses.soft_targets(teacher, 2.0), 2.0).backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None
    assert student.grad is not None and student.grad.abs().sum() > 0


def test_an_ensemble_of_probabilities_averages_probabilities() -> None:
    targets = losses.ensemble_targets(
        [logits_of([0.8, 0.2]), logits_of([0.4, 0.6])], 1.0, "probabilities"
    )
    assert targets.exp()[0].tolist() == pytest.approx([0.6, 0.4], abs=1e-6)


def test_an_ensemble_of_logits_takes_the_geometric_mean_of_the_odds() -> None:
    # Odds 4 and 2/3: their geometric mean is sqrt(8/3).
    targets = losses.ensemble_targets([logits_of([0.8, 0.2]), logits_of([0.4, 0.6])], 1.0, "logits")
    odds = math.sqrt(8 / 3)
    assert targets.exp()[0].tolist() == pytest.approx([odds / (1 + odds), 1 / (1 + odds)], abs=1e-6)


def test_the_two_ensembles_of_one_teacher_are_that_teacher() -> None:
    teacher = torch.randn(5, 3)
    alone = losses.soft_targets(teacher, 4.0)
    for way in ("logits", "probabilities"):
        assert torch.allclose(losses.ensemble_targets([teacher], 4.0, way), alone, atol=1e-6)


def test_mix_weighs_own_image_and_partner() -> None:
    images, partners = torch.full((2, 1, 2, 2), 10.0), torch.full((2, 1, 2, 2), 20.0)
    assert set(losses.mix(images, partners, torch.tensor(0.25)).flatten().tolist()) == {17.5}
    each = losses.mix(images, partners, torch.tensor([0.25, 1.0]))
    assert each[:, 0, 0, 0].tolist() == [17.5, 10.0]


def test_mixed_cross_entropy_weighs_both_labels() -> None:
    logits = logits_of([0.8, 0.2])
    got = losses.mixed_cross_entropy(
        logits, torch.tensor([0]), torch.tensor([1]), torch.tensor(0.75)
    )
    assert got.item() == pytest.approx(-0.75 * math.log(0.8) - 0.25 * math.log(0.2), abs=1e-6)


def test_mixed_cross_entropy_is_that_of_the_mixed_labels() -> None:
    logits, weight = torch.randn(4, 3), torch.tensor([0.1, 0.5, 0.9, 1.0])
    labels, partners = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 2])
    soft = (
        weight.unsqueeze(1) * torch.eye(3)[labels]
        + (1 - weight).unsqueeze(1) * torch.eye(3)[partners]
    )
    expected = torch.nn.functional.cross_entropy(logits, soft)
    got = losses.mixed_cross_entropy(logits, labels, partners, weight)
    assert got.item() == pytest.approx(expected.item(), abs=1e-6)
