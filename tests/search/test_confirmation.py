"""The best trial again on fresh seeds: one that diverges is a result, not the end of an answer."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest

from orc_repro.errors import NotWorthwhile
from orc_repro.search import confirmation
from orc_repro.search.confirmation import FreshSeeds, on_fresh_seeds, paired, verdict
from orc_repro.search.declaration import Search
from tests.search.files import content

HIGH = FreshSeeds({1: 62.0, 2: 63.0, 3: 61.0})
LOW = FreshSeeds({1: 50.0, 2: 51.5, 3: 49.5})
FAILED = FreshSeeds({1: 62.0, 3: 61.0}, {2: "the target's loss is no longer finite"})


def test_a_seed_that_diverges_is_told_beside_those_that_did_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_seed(seed: int, *_: object) -> Any:
        if seed == 101:
            raise NotWorthwhile("the pivot's loss is no longer finite, after epoch 2")
        return SimpleNamespace(epochs=[{"val/top1": 0.5 * seed}])

    monkeypatch.setattr(confirmation, "run_seed", run_seed)
    monkeypatch.setattr(confirmation, "variant", lambda *_: None)
    monkeypatch.setattr(confirmation, "identify", lambda *words: (words[3], {}))
    search = Search.model_validate(content())
    seen = on_fresh_seeds(search, "small-v1", cast(Any, None), {}, "best, again", "cpu")
    assert seen.accuracies == {100: 50.0, 102: 51.0}
    # 50.5 in the middle, sd 1/sqrt(2); t at 97.5 % with one degree of freedom is 12.706.
    assert str(seen) == (
        "50.50 ± 0.71, 44.15 to 56.85 (n = 2); seed 101 failed: the pivot's loss is no longer"
        " finite, after epoch 2"
    )


def test_the_difference_is_over_the_seeds_of_both() -> None:
    assert paired(FAILED, LOW).endswith("(n = 2)")
    assert paired(FreshSeeds({2: 1.0}), FAILED) == "no seed of both"


@pytest.mark.parametrize(
    ("best", "first", "says"),
    [
        (HIGH, LOW, "is better"),
        (LOW, HIGH, "is worse"),
        (HIGH, FreshSeeds({1: 62.5, 2: 62.0, 3: 61.5}), "Nothing is decided"),
        (FreshSeeds({1: 51.0, 2: 52.5, 3: 50.5}), LOW, "Nothing is decided"),  # each by 1 point
        (FAILED, LOW, "does not replace .* failed on 1 of 3"),
        (FAILED, FAILED, "does not replace"),
        (LOW, FAILED, "failed on 1 of 3 fresh seeds, the best trial on none"),
    ],
)
def test_a_best_trial_that_fails_replaces_nothing(
    best: FreshSeeds, first: FreshSeeds, says: str
) -> None:
    assert re.search(says, verdict(best, first))
