"""From a declaration to cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from orc_repro.cells import Cells, Declaration, Study, expand, load_study, plan, slug
from orc_repro.config import Params, load_params
from orc_repro.errors import UserError
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml

ROOT = Path(__file__).parents[1]
ROW: dict[str, object] = {
    "dataset": "digits",
    "group": "r26-r8",
    "recipe": "digits",
    "pivot": {"recipe": "digits", "seed": 3},
    "methods": ["ce", "orc"],
    "seeds": [0, 5],
}


@pytest.fixture
def params() -> Params:
    return load_params(ROOT / "params.yaml")


def declare(*rows: Mapping[str, object]) -> Declaration:
    return parse(
        Declaration,
        {"title": "t", "experiment": "e", "rows": [dict(row) for row in rows]},
        "study.yaml",
    )


def test_a_cell_for_each_method_and_seed_and_one_pivot_for_all(params: Params) -> None:
    cells = expand(declare(ROW), params)
    assert list(cells.cells) == [
        "digits-r26-r8-ce-s0",
        "digits-r26-r8-ce-s5",
        "digits-r26-r8-orc-s0",
        "digits-r26-r8-orc-s5",
    ]
    assert list(cells.pivots) == ["digits-resnet26-digits-s3"]
    ce, orc = cells.cells["digits-r26-r8-ce-s0"], cells.cells["digits-r26-r8-orc-s5"]
    assert (ce.pivot, ce.starts_from) == (None, "data/prepared/digits/manifest.json")
    assert orc.pivot == "digits-resnet26-digits-s3"
    assert orc.starts_from == "weights/pivots/digits-resnet26-digits-s3.safetensors"


def test_a_folder_is_what_its_preparation_depends_on(params: Params) -> None:
    cells = expand(declare(ROW | {"dataset": "cifar10-small"}), params)
    assert cells.datasets["cifar10-small"].input == "data/raw/cifar10-small"


def test_the_same_cell_twice_is_refused(params: Params) -> None:
    with pytest.raises(UserError, match="declares the cell 'digits-r26-r8-ce-s0' twice"):
        expand(declare(ROW, ROW), params)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dataset": "mnist"}, "'mnist', which params.yaml's data"),
        ({"group": "big"}, "'big', which params.yaml's groups"),
        ({"recipe": "slow"}, "'slow', which params.yaml's recipes"),
        ({"methods": ["crd"]}, "'crd', which params.yaml's methods"),
    ],
)
def test_an_unknown_name_is_refused(params: Params, change: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=re.escape(named)):
        expand(declare(ROW | change), params)


def test_keys_are_of_letters_digits_and_dashes() -> None:
    assert slug("CIFAR_100", "wrn_40.2", "T=1.5") == "cifar-100-wrn-40-2-t-1-5"


def test_every_study_of_the_project_is_planned_and_its_keys_are_plain(params: Params) -> None:
    studies = sorted(ROOT.glob("studies/*/study.yaml"))
    assert studies
    for path in studies:
        declared = expand(parse(Declaration, read_yaml(path), str(path)), params)
        written = parse(Cells, read_yaml(path.with_name("cells.yaml")), "cells.yaml")
        assert written == declared, f"run `orc-repro plan {path.parent}`"
        for key in [*written.cells, *written.pivots]:
            assert re.fullmatch(r"[a-z0-9-]+", key)


def test_top_k_beyond_the_group_is_refused_before_anything_runs(
    params: Params, tmp_path: Path
) -> None:
    text = (ROOT / "params.yaml").read_text().replace("top_k: 1", "top_k: 9")
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"top_k is 9; group r20-r8 has 2 students, .* 1 to 2"):
        load_study(ROOT / "studies/default", path)


def test_a_method_that_needs_a_pivot_is_refused_in_a_group_without(params: Params) -> None:
    group = params.groups["r26-r8"].model_copy(update={"pivot": None})
    changed = params.model_copy(update={"groups": params.groups | {"r26-r8": group}})
    with pytest.raises(UserError, match=r"groups\.r26-r8\.pivot is null; orc needs a pivot"):
        expand(declare(ROW), changed)


def test_an_unknown_cell_names_some_that_exist(params: Params) -> None:
    study = Study(params, expand(declare(ROW), params), Path("studies/x"))
    with pytest.raises(UserError, match=r"has no cell 'nope' .it has digits-r26-r8-ce-s0, "):
        study.cell("nope")


def test_plan_says_whether_it_changed_anything(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").mkdir()
    source = (ROOT / "studies/default/study.yaml").read_text()
    (tmp_path / "study/study.yaml").write_text(source)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    assert plan(Path("study"))[1] is True
    assert plan(Path("study"))[1] is False
    assert load_study(Path("study")).cell("digits-r20-r8-kd-s1").seed == 1
