"""Trials of one search share data, pivot and everything outside its space, or it says what not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from orc_repro.config import Params
from orc_repro.errors import UserError
from orc_repro.search import foundation
from orc_repro.search.declaration import Search
from orc_repro.search.foundation import teachers_of
from orc_repro.search.space import base_values, variant
from orc_repro.search.storage import open_study
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml
from tests.project import ROOT
from tests.search.files import content, shrink

PIVOT = Path("weights/pivots/digits-resnet14-digits-s0.safetensors")


def search(**base: Any) -> Search:
    file = content()
    space = {"method.temperature": file["space"]["method.temperature"]}
    return parse(Search, file | {"base": file["base"] | base, "space": space}, "search.yaml")


def params(**changes: Any) -> Params:
    raw = read_yaml(ROOT / "params.yaml")
    shrink(raw)
    raw["recipes"]["digits"] |= changes
    raw["groups"]["alone"] = {"pivot": "resnet14", "students": ["resnet8"], "target": "resnet8"}
    return parse(Params, raw, "params.yaml")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / ".orc"))
    monkeypatch.delenv("ORC_SEARCH_STORAGE", raising=False)
    made = SimpleNamespace(digest="a" * 64)
    monkeypatch.setattr(foundation, "manifest_of", lambda _: made)
    save(1.0)
    return made


def save(value: float) -> None:
    PIVOT.parent.mkdir(parents=True, exist_ok=True)
    save_file({"weight": np.full(3, value)}, PIVOT)


def opened(found: Params) -> Any:
    declared = search()
    first = base_values(declared, found)
    return open_study(declared, "small-v1", first, foundation.foundation(declared, found))


def test_what_the_space_holds_may_change_as_promote_does(data: SimpleNamespace) -> None:
    opened(params())
    promoted = params()
    orc = promoted.methods["orc"].model_copy(update={"temperature": 2.0})
    study = opened(promoted.model_copy(update={"methods": promoted.methods | {"orc": orc}}))
    assert study.trials[0].system_attrs["fixed_params"] == {"method.temperature": 4.0}


def test_trials_of_another_configuration_data_or_pivot_are_not_mixed(
    data: SimpleNamespace,
) -> None:
    opened(params())
    with pytest.raises(UserError, match=r"else \(recipe.epochs was 2 and is 5\); put it back"):
        opened(params(epochs=5))
    data.digest = "b" * 64
    with pytest.raises(UserError, match=r"\(the data was aaaaaaaaaaaa and is bbbbbbbbbbbb\)"):
        opened(params())
    data.digest = "a" * 64
    save(2.0)
    with pytest.raises(UserError, match=r"\(the pivot's weights was [0-9a-f]{12} and is "):
        opened(params())
    save(1.0)
    assert len(opened(params()).trials) == 1


def test_a_method_starts_from_the_pivot_alone_or_is_refused(data: SimpleNamespace) -> None:
    def asked(**base: Any) -> dict[str, str]:
        found = search(**base)
        return teachers_of(found, variant(found, params(), {}, "base"))

    assert asked() == {"resnet14": PIVOT.as_posix()}
    assert asked(method="ce", pivot=None) == {}
    assert asked(method="takd", group="alone") == {"resnet14": PIVOT.as_posix()}
    with pytest.raises(UserError, match=r"^takd starts from resnet8.a, trained before"):
        asked(method="takd")
    with pytest.raises(UserError, match=r"^base.pivot is null; orc starts from a pivot's weights"):
        asked(pivot=None)
