"""Which samples come back as feedback, and how often."""

from __future__ import annotations

import math

import pytest
import torch

from orc_repro.distill.orc.feedback import draw_partners, feedback_probabilities

# Two students, four samples. The first errs on samples 0 and 1, the second on 1, 2 and 3.
LOSSES = torch.tensor([[2.0, 2.0, 0.0, 0.0], [0.0, 3.0, 3.0, 6.0]])  # means 1 and 3
WRONG = torch.tensor([[True, True, False, False], [False, True, True, True]])
CHOICES = ("student_loss", "sample_loss", "union", "hardest")


def test_a_students_share_is_the_softmax_of_its_mean_loss_spread_over_its_errors() -> None:
    worse = math.exp(3) / (math.exp(1) + math.exp(3))
    expected = [(1 - worse) / 2, (1 - worse) / 2 + worse / 3, worse / 3, worse / 3]
    got = feedback_probabilities("student_loss", LOSSES, WRONG)
    assert got.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_student_without_error_has_no_share() -> None:
    wrong = WRONG.clone()
    wrong[1] = False
    got = feedback_probabilities("student_loss", LOSSES, wrong)
    assert got.tolist() == pytest.approx([0.5, 0.5, 0, 0])


def test_sample_loss_is_a_softmax_over_the_samples_anyone_got_wrong() -> None:
    wrong = WRONG.clone()
    wrong[:, 0] = False  # mean losses of the rest: 2.5, 1.5, 3
    total = math.exp(2.5) + math.exp(1.5) + math.exp(3)
    expected = [0, math.exp(2.5) / total, math.exp(1.5) / total, math.exp(3) / total]
    got = feedback_probabilities("sample_loss", LOSSES, wrong)
    assert got.tolist() == pytest.approx(expected, abs=1e-6)


def test_union_gives_every_error_the_same_chance() -> None:
    wrong = torch.tensor([[True, False, False, False], [True, False, True, False]])
    got = feedback_probabilities("union", LOSSES, wrong)
    assert got.tolist() == [0.5, 0, 0.5, 0]


def test_hardest_is_the_error_with_the_highest_mean_loss() -> None:
    assert feedback_probabilities("hardest", LOSSES, WRONG).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("choice", CHOICES)
def test_nobody_errs(choice: str) -> None:
    got = feedback_probabilities(choice, LOSSES, torch.zeros_like(WRONG))
    assert got.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("choice", CHOICES)
def test_everybody_errs_everywhere_and_probabilities_add_up_to_one(choice: str) -> None:
    got = feedback_probabilities(choice, LOSSES, torch.ones_like(WRONG)).float()
    assert got.sum().item() == pytest.approx(1)
    assert (got >= 0).all()


@pytest.mark.parametrize("choice", CHOICES)
def test_a_student_that_went_nan_counts_as_absent(choice: str) -> None:
    broken = LOSSES.clone()
    broken[1] = torch.nan
    got = feedback_probabilities(choice, broken, WRONG).float()
    alone = feedback_probabilities(choice, LOSSES[:1], WRONG[:1]).float()
    assert got.tolist() == pytest.approx(alone.tolist())


def test_all_students_nan_means_no_feedback() -> None:
    got = feedback_probabilities("student_loss", torch.full((2, 4), torch.nan), WRONG)
    assert got.tolist() == [0, 0, 0, 0]


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown feedback choice 'best'"):
        feedback_probabilities("best", LOSSES, WRONG)


def test_partners_are_drawn_by_inverting_the_cumulative_distribution() -> None:
    probabilities = torch.tensor([0.25, 0.0, 0.75, 0.0])
    uniform = torch.tensor([0.0, 0.24, 0.26, 0.999999])
    assert draw_partners(probabilities, uniform).tolist() == [0, 0, 2, 2]


def test_a_draw_never_lands_on_a_sample_that_cannot_be_drawn() -> None:
    probabilities = torch.zeros(8)
    probabilities[2] = 1 / 3  # the total is not exactly representable
    probabilities[5] = 1 / 7
    drawn = draw_partners(probabilities, torch.linspace(0, 1, 8))  # 1.0 is past the last draw
    assert set(drawn.tolist()) == {2, 5}


def test_partners_come_as_often_as_their_probability_says() -> None:
    probabilities = torch.zeros(1000)
    probabilities[[3, 500]] = torch.tensor([0.2, 0.8])
    uniform = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    drawn = draw_partners(probabilities, uniform)
    # Three standard deviations of a binomial share at n = 1000.
    assert (drawn == 3).float().mean().item() == pytest.approx(0.2, abs=0.038)


def test_nobody_errs_pairs_each_with_itself_or_with_a_random_sample() -> None:
    uniform = torch.tensor([0.99, 0.0, 0.3, 0.5])
    nothing = torch.zeros(4)
    assert draw_partners(nothing, uniform, "self").tolist() == [0, 1, 2, 3]
    assert draw_partners(nothing, uniform, "random").tolist() == [3, 0, 1, 2]
