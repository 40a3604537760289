"""Where a space may lead, and what a trial becomes."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.trial import FixedTrial

from orc_repro.config import OrcConfig, Params, load_params
from orc_repro.errors import UserError
from orc_repro.search.declaration import Search, load_search
from orc_repro.search.space import base_values, check, overlay, suggest, variant
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml
from tests.project import ROOT
from tests.search.files import content, shrink

SPACE = content()["space"]


@pytest.fixture(scope="module")
def params() -> Params:
    raw = read_yaml(ROOT / "params.yaml")
    shrink(raw)
    return parse(Params, raw, "params.yaml")


def search(**changes: Any) -> Search:
    return parse(Search, content(**changes), "search.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "studies/search").glob("*.yaml")), ids=str)
def test_every_shipped_search_has_what_params_yaml_has_in_its_space(path: Any) -> None:
    shipped, params = load_search(path), load_params(ROOT / "params.yaml")
    check(shipped, params, path.name)
    first = base_values(shipped, params)
    assert suggest(FixedTrial(first), shipped) == first
    found = variant(shipped, params, first, path.name)
    assert found.method == params.methods[shipped.base.method]
    assert found.group == params.groups[shipped.base.group]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"space": {"method.heat": {"low": 1.0, "high": 2.0}}}, "no parameter method.heat"),
        ({"space": {"data.seed": {"low": 1, "high": 2}}}, "there is no parameter data.seed"),
        ({"space": {"method.promotion": {"low": 1, "high": 2}}}, "is a section, not a parameter"),
        ({"space": {"method.beta": {"low": 0.1, "high": 1.5}}}, "method.beta is 1.5; it must be"),
        (
            {"space": {"method.temperature": {"low": 5.0, "high": 9.0}}},
            "method.temperature is 4.0 in params.yaml, and so in trial 0, but not in the space",
        ),
        (
            {"space": {"method.beta": {"low": 0, "high": 1}}},  # whole numbers, as both ends are
            "method.beta is 0.5 in params.yaml, and so in trial 0, but not in the space",
        ),
        ({"space": {"method.promotion.top_k": {"low": 0, "high": 3}}}, "the group has 2 students"),
        (
            {"space": {"group.students": {"choices": [["resnet8.a", "resnet8"], ["resnet9"]]}}},
            "resnet9",
        ),
        (
            {"space": {"group.students": {"choices": [["resnet8.a", "resnet8"], ["resnet14"]]}}},
            "group",
        ),
        ({"base": content()["base"] | {"group": "nobody"}}, "params.yaml's groups has no 'nobody'"),
        (
            {"pruner": {"kind": "median", "startup_trials": 2, "after_epoch": 0}},
            "pruner.after_epoch is 0; it must be at least 1",
        ),
    ],
)
def test_a_space_that_leads_somewhere_wrong_is_refused(
    params: Params, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError) as refused:
        check(search(**changes), params, "search.yaml")
    assert sentence in str(refused.value)


def test_a_trial_changes_what_is_searched_and_nothing_else(params: Params) -> None:
    values = {
        "group.students": "resnet8",
        "method.temperature": 2.5,
        "method.promotion.top_k": 0,
        "method.ranking.criterion": "improvement",
        "method.ranking.smoothing": 0.75,
    }
    found = variant(search(), params, values, "trial 1")
    base = params.methods["orc"]
    assert isinstance(base, OrcConfig) and isinstance(found.method, OrcConfig)
    assert found.group.students == ("resnet8",) and found.recipe == params.recipes["digits"]
    assert found.method.temperature == 2.5 and found.method.promotion.top_k == 0
    assert found.method.ranking.criterion == "improvement"
    assert found.method.ranking.smoothing == 0.75
    assert found.method.teaching == base.teaching and found.method.beta == base.beta


def test_a_value_under_a_condition_is_suggested_only_where_that_holds() -> None:
    values = {"group.students": "resnet8", "method.temperature": 2.0, "method.promotion.top_k": 1}
    plain = values | {"method.ranking.criterion": "loss"}
    assert suggest(FixedTrial(plain), search()) == plain
    other = values | {"method.ranking.criterion": "improvement", "method.ranking.smoothing": 0.6}
    assert suggest(FixedTrial(other), search()) == other
    assert list(suggest(FixedTrial(other), search())) == list(SPACE)  # in the order of the file


def test_values_become_the_part_of_params_yaml_that_they_are(params: Params) -> None:
    values = {"group.students": "resnet8.a, resnet8", "method.promotion.top_k": 1}
    assert overlay(search(), values, params) == {
        "groups": {"small": {"students": ["resnet8.a", "resnet8"]}},
        "methods": {"orc": {"promotion": {"top_k": 1}}},
    }


@pytest.mark.parametrize("section", ["groups", "recipes", "methods", "data"])
def test_a_base_that_params_yaml_lost_is_named(params: Params, section: str) -> None:
    lost = params.model_copy(update={section: {}})
    with pytest.raises(UserError, match=f"params.yaml's {section} has no"):
        base_values(search(), lost)
