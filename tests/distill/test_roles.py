"""Roles, memory and elections, all of it worked out by hand."""

from __future__ import annotations

import math

import pytest

from orc_repro.distill.roles import Memory, Roles, elect, role_change, score_students

NOBODY = Roles("pivot", (), ("a", "b", "c"))
A = Roles("pivot", ("a",), ("b", "c"))
ALL_GOOD = {"a": 1.0, "b": 1.0, "c": 1.0}


def election(
    scores: dict[str, float],
    incumbent: Roles = NOBODY,
    accuracies: dict[str, float] = ALL_GOOD,
    top_k: int = 1,
    margin: float = 0.0,
    min_accuracy: float = 0.0,
) -> Roles:
    return elect(
        scores, accuracies, incumbent, top_k=top_k, margin=margin, min_accuracy=min_accuracy
    )


def test_a_network_has_one_role() -> None:
    with pytest.raises(ValueError, match="more than one role"):
        Roles("pivot", ("a",), ("a", "b"))
    with pytest.raises(ValueError, match="more than one role"):
        Roles("a", (), ("a",))


def test_the_lowest_score_is_promoted_and_the_rest_are_students() -> None:
    assert election({"a": 0.9, "b": 0.2, "c": 0.5}) == Roles("pivot", ("b",), ("a", "c"))


def test_the_incumbent_is_demoted_when_another_is_better() -> None:
    assert election({"a": 0.9, "b": 0.2, "c": 0.5}, A).temporary_teachers == ("b",)


def test_top_k_in_the_order_of_the_group_whoever_ranked_first() -> None:
    roles = election({"a": 0.3, "b": 0.9, "c": 0.1}, top_k=2)
    assert roles == Roles("pivot", ("a", "c"), ("b",))


def test_everyone_may_be_promoted() -> None:
    assert election({"a": 0.3, "b": 0.9, "c": 0.1}, top_k=3).students == ()


@pytest.mark.parametrize("top_k", [-1, 4])
def test_top_k_outside_the_group_is_refused(top_k: int) -> None:
    with pytest.raises(ValueError, match=r"top_k must be 0\.\.3, got"):
        election({"a": 0.3, "b": 0.9, "c": 0.1}, top_k=top_k)


def test_nobody_is_promoted_where_there_is_no_place() -> None:
    assert election({"a": 0.3, "b": 0.9}, top_k=0) == Roles("pivot", (), ("a", "b"))


def test_on_a_tie_the_incumbent_stays_and_otherwise_the_first_declared_wins() -> None:
    tie = {"a": 0.5, "b": 0.5, "c": 0.5}
    assert election(tie).temporary_teachers == ("a",)
    assert election(tie, Roles("pivot", ("c",), ("a", "b"))).temporary_teachers == ("c",)


@pytest.mark.parametrize(("challenger", "winner"), [(0.41, "a"), (0.40625, "a"), (0.40, "b")])
def test_a_challenger_must_beat_the_incumbent_by_more_than_the_margin(
    challenger: float, winner: str
) -> None:
    scores = {"a": 0.5, "b": challenger, "c": 0.9}  # 0.5 - 0.09375 = 0.40625 exactly
    assert election(scores, A, margin=0.09375).temporary_teachers == (winner,)


def test_the_margin_does_not_protect_among_challengers() -> None:
    scores = {"a": 0.9, "b": 0.50, "c": 0.49}
    assert election(scores, A, margin=0.1).temporary_teachers == ("c",)


def test_a_candidate_must_reach_the_minimum_accuracy() -> None:
    accuracies = {"a": 0.39, "b": 0.4, "c": 0.1}
    scores = {"a": 0.1, "b": 0.5, "c": 0.2}
    assert election(scores, accuracies=accuracies, min_accuracy=0.4).temporary_teachers == ("b",)


def test_if_nobody_reaches_it_nobody_is_promoted() -> None:
    accuracies = {"a": 0.1, "b": 0.1, "c": 0.1}
    roles = election({"a": 0.1, "b": 0.2, "c": 0.3}, A, accuracies, min_accuracy=0.5)
    assert roles == NOBODY


def test_a_nan_never_wins_even_alone_or_as_incumbent() -> None:
    nan = math.nan
    assert election({"a": nan, "b": 9.0, "c": 99.0}, A).temporary_teachers == ("b",)
    assert election({"a": nan, "b": nan, "c": 1.0}, top_k=2).temporary_teachers == ("c",)
    assert election({"a": nan, "b": math.inf, "c": nan}) == NOBODY


def test_a_group_of_one_student_promotes_it() -> None:
    alone = Roles("pivot", (), ("a",))
    roles = elect({"a": 2.0}, {"a": 0.0}, alone, top_k=1, margin=0.0, min_accuracy=0.0)
    assert roles == Roles("pivot", ("a",), ())


def test_scores_by_loss_and_by_accuracy() -> None:
    after = Memory({"a": 1.5, "b": 0.5}, {"a": 0.25, "b": 0.75})
    losses = {"a": 1.0, "b": 1.0}
    assert score_students("loss", Memory(), after, losses) == {"a": 1.5, "b": 0.5}
    assert score_students("accuracy", Memory(), after, losses) == {"a": 0.75, "b": 0.25}


def test_scores_by_improvement_are_relative_to_a_networks_own_loss() -> None:
    before, after = Memory({"a": 2.0, "b": 0.5}), Memory({"a": 1.8, "b": 0.4})
    scores = score_students("improvement", before, after, {"a": 1.0, "b": 1.0})
    assert scores == pytest.approx({"a": -0.1, "b": -0.2})
    first = score_students("improvement", Memory(), after, {"a": 1.0, "b": 1.0})
    assert first == {"a": 0.0, "b": 0.0}


def test_a_nan_loss_scores_nan_whatever_is_remembered() -> None:
    scores = score_students("loss", Memory({"a": 1.0}), Memory({"a": 1.0}), {"a": math.nan})
    assert math.isnan(scores["a"])


def test_an_unknown_criterion_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown ranking criterion 'size'"):
        score_students("size", Memory(), Memory({"a": 1.0}), {"a": 1.0})


def test_memory_is_an_exponential_mean_that_starts_at_the_first_value() -> None:
    first = Memory().updated({"a": 4.0}, {"a": 0.0}, smoothing=0.75)
    assert (first.loss, first.accuracy) == ({"a": 4.0}, {"a": 0.0})
    second = first.updated({"a": 2.0}, {"a": 1.0}, smoothing=0.75)
    assert (second.loss, second.accuracy) == ({"a": 3.5}, {"a": 0.25})


def test_memory_without_smoothing_is_the_last_value() -> None:
    assert Memory({"a": 9.0}).updated({"a": 2.0}, {"a": 1.0}, smoothing=0.0).loss == {"a": 2.0}


def test_memory_forgets_no_value_for_a_nan_and_recovers_from_one() -> None:
    assert Memory({"a": 9.0}).updated({"a": math.nan}, {}, smoothing=0.5).loss == {"a": 9.0}
    assert Memory({"a": math.nan}).updated({"a": 3.0}, {}, smoothing=0.5).loss == {"a": 3.0}


def test_a_role_change_says_who_left_and_who_came() -> None:
    before, after = Roles("p", ("a", "b"), ("c",)), Roles("p", ("b", "c"), ("a",))
    change = role_change(before, after, {"a": 3.0, "b": 1.0, "c": 2.0}, epoch=4, step=99)
    assert change is not None
    assert (change.left, change.came, change.teachers) == (("a",), ("c",), ("b", "c"))
    assert (change.epoch, change.step, change.scores["c"]) == (4, 99, 2.0)


def test_no_role_change_without_roles_or_without_difference() -> None:
    assert role_change(A, A, {}, 0, 0) is None
    assert role_change(None, None, {}, 0, 0) is None
