"""From declarations to cells, pools and pipelines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from orc_repro.cells import Cells, load_study
from orc_repro.config import Params, load_params
from orc_repro.errors import UserError
from orc_repro.pipelines import pipeline_of, pipeline_text
from orc_repro.plan import Declaration, expand, plan, planned, slug
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml

ROOT = Path(__file__).parents[1]
ROW: dict[str, object] = {
    "dataset": "digits",
    "groups": ["r26-r8"],
    "recipe": "digits",
    "pivot": {"recipe": "digits", "seed": 3},
    "methods": ["ce", "orc"],
    "seeds": [0, 5],
}
PIVOT = "weights/pivots/digits-resnet26-digits-s3.safetensors"


@pytest.fixture
def params() -> Params:
    return load_params(ROOT / "params.yaml")


def declare(*rows: Mapping[str, object], experiment: str | None = "e") -> Declaration:
    content = {"title": "t", "experiment": experiment, "rows": [dict(row) for row in rows]}
    return parse(Declaration, content, "study.yaml")


def test_a_cell_for_each_method_and_seed_and_one_pivot_for_all(params: Params) -> None:
    cells = expand(declare(ROW), params, "mine")
    assert list(cells.cells) == [
        "digits-r26-r8-ce-s0",
        "digits-r26-r8-ce-s5",
        "digits-r26-r8-orc-s0",
        "digits-r26-r8-orc-s5",
    ]
    assert list(cells.pivots) == ["digits-resnet26-digits-s3"]
    ce, orc = cells.cells["digits-r26-r8-ce-s0"], cells.cells["digits-r26-r8-orc-s5"]
    assert (ce.teachers, ce.starts_from) == ({}, "data/prepared/digits/manifest.json")
    assert (orc.teachers, orc.starts_from) == ({"resnet26": PIVOT}, PIVOT)
    assert ce.study == "mine"


def test_a_pivot_from_elsewhere_is_another_one_and_what_is_trained_is_declared_as_ever(
    params: Params, tmp_path: Path
) -> None:
    weights = {"source": "file", "path": "a.pth", "sha256": "ab" * 32, "min_top1": 70.0}
    given = ROW | {"pivot": {"recipe": "digits", "seed": 3, "weights": weights}}
    (pivot,) = expand(declare(given), params, "mine").pivots
    assert pivot == "digits-resnet26-file-abababab"
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    for name, row in (("one", ROW), ("two", given | {"dataset": "cifar10-small"})):
        write_study(tmp_path, name, [row], own=True)
    plan(tmp_path / "studies", tmp_path / "params.yaml")
    written = {
        name: read_yaml(tmp_path / "studies" / name / "cells.yaml") for name in ("one", "two")
    }
    (trained,), (taken,) = (w["pivots"].values() for w in written.values())
    assert set(trained) == {"dataset", "network", "recipe", "seed"}
    assert taken["weights"] == weights


def test_a_chain_is_trained_link_by_link_and_the_target_starts_from_the_last(
    params: Params,
) -> None:
    cells = expand(declare(ROW | {"methods": ["takd"]}), params, "mine")
    r20, r14 = (
        f"weights/assistants/digits-r26-r8-takd-{name}-digits-s3.safetensors"
        for name in ("resnet20", "resnet14")
    )
    links = {a.network: (a.teachers, a.starts_from) for a in cells.assistants.values()}
    assert links == {
        "resnet20": ({"resnet26": PIVOT}, PIVOT),
        "resnet14": ({"resnet20": r20}, r20),
    }
    assert cells.cells["digits-r26-r8-takd-s0"].teachers == {"resnet14": r14}


def test_dense_guidance_has_every_larger_network_as_a_teacher(params: Params) -> None:
    cells = expand(declare(ROW | {"methods": ["dgkd"]}), params, "mine")
    wanted = {a.network: list(a.teachers) for a in cells.assistants.values()}
    assert wanted == {"resnet20": ["resnet26"], "resnet14": ["resnet26", "resnet20"]}
    target = cells.cells["digits-r26-r8-dgkd-s5"]
    assert list(target.teachers) == ["resnet26", "resnet20", "resnet14"]
    assert target.starts_from == target.teachers["resnet14"]


def test_variants_of_a_method_can_share_the_assistants_of_one(params: Params) -> None:
    row = ROW | {"methods": ["dgkd", "dgkd-drop"], "assistants_by": {"dgkd-drop": "dgkd"}}
    cells = expand(declare(row), params, "mine")
    assert {assistant.method for assistant in cells.assistants.values()} == {"dgkd"}
    alone = expand(declare(ROW | {"methods": ["dgkd"]}), params, "mine")
    assert cells.assistants == alone.assistants
    own, shared = (cells.cells[f"digits-r26-r8-{m}-s5"] for m in ("dgkd", "dgkd-drop"))
    assert own.teachers == shared.teachers and own.method != shared.method


@pytest.mark.parametrize(
    ("by", "named"),
    [
        ({"takd": "dgkd"}, "assistants_by names 'takd', which is not among the row's methods"),
        ({"dgkd": "nope"}, "study.yaml names 'nope'"),
    ],
)
def test_assistants_by_nobody_or_for_nobody_are_refused(
    params: Params, by: dict[str, str], named: str
) -> None:
    row = ROW | {"methods": ["dgkd"], "assistants_by": by}
    with pytest.raises(UserError, match=named):
        expand(declare(row), params, "mine")


def test_a_folder_is_what_its_preparation_depends_on(params: Params) -> None:
    cells = expand(declare(ROW | {"dataset": "cifar10-small"}), params, "mine")
    assert cells.datasets["cifar10-small"].input == "data/raw/cifar10-small"


def test_the_same_cell_twice_is_refused() -> None:
    with pytest.raises(UserError, match="ce on digits and r26-r8 is declared twice"):
        declare(ROW, ROW)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dataset": "mnist"}, "'mnist', which params.yaml's data"),
        ({"groups": ["big"]}, "'big', which params.yaml's groups"),
        ({"recipe": "slow"}, "'slow', which params.yaml's recipes"),
        ({"methods": ["crd"]}, "'crd', which params.yaml's methods"),
    ],
)
def test_an_unknown_name_is_refused(params: Params, change: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=re.escape(named)):
        expand(declare(ROW | change), params, "mine")


def test_a_method_that_needs_a_pivot_is_refused_in_a_group_without(params: Params) -> None:
    group = params.groups["r26-r8"].model_copy(update={"pivot": None})
    changed = params.model_copy(update={"groups": params.groups | {"r26-r8": group}})
    with pytest.raises(UserError, match=r"groups\.r26-r8\.pivot is null; orc needs a pivot"):
        expand(declare(ROW), changed, "mine")


def test_keys_are_of_letters_digits_and_dashes() -> None:
    assert slug("CIFAR_100", "wrn_40.2", "T=1.5") == "cifar-100-wrn-40-2-t-1-5"


def write_study(root: Path, name: str, rows: list[dict[str, object]], own: bool = False) -> None:
    folder = root / "studies" / name
    folder.mkdir(parents=True)
    content = {"title": name, "experiment": "e" if own else None, "rows": rows}
    (folder / "study.yaml").write_text(yaml.safe_dump(content))


def test_what_two_studies_need_is_one_stage_in_the_pool_of_its_dataset(
    params: Params, tmp_path: Path
) -> None:
    write_study(tmp_path, "one", [ROW])
    write_study(tmp_path, "two", [ROW | {"methods": ["orc", "kd"], "seeds": [5, 7]}])
    found = planned(params, tmp_path / "studies")
    assert [folder.name for folder in found] == ["one", "two", "digits"]
    one, two, pool = found.values()
    assert set(one.cells) | set(two.cells) == set(pool.cells)
    assert len(one.cells) + len(two.cells) == len(pool.cells) + 1  # orc with seed 5 is in both
    assert (len(pool.pivots), one.pivots, two.datasets) == (1, {}, {})
    assert {cell.study for cell in pool.cells.values()} == {"digits"}


def test_a_cell_that_two_studies_declare_otherwise_is_refused(
    params: Params, tmp_path: Path
) -> None:
    write_study(tmp_path, "one", [ROW])
    write_study(tmp_path, "two", [ROW | {"recipe": "cifar10-brief"}])
    with pytest.raises(UserError, match="'digits-r26-r8-ce-s0' is declared twice, and not the"):
        planned(params, tmp_path / "studies")


def test_a_dataset_belongs_to_a_pool_or_to_one_study(params: Params, tmp_path: Path) -> None:
    write_study(tmp_path, "alone", [ROW], own=True)
    write_study(tmp_path, "two", [ROW | {"groups": ["r20-r8"]}])
    with pytest.raises(UserError, match=r"'digits' is in .*alone and in .*pools/digits; a study"):
        planned(params, tmp_path / "studies")


def test_a_study_named_as_a_pool_is_refused(params: Params, tmp_path: Path) -> None:
    write_study(tmp_path, "digits", [ROW])
    with pytest.raises(UserError, match="would share their results"):
        planned(params, tmp_path / "studies")


def test_every_file_of_the_project_is_what_is_declared(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    found = planned(params)
    assert len(found) > 12
    for folder, declared in found.items():
        written = parse(Cells, read_yaml(folder / "cells.yaml"), "cells.yaml")
        assert written == declared, "run `orc-repro plan`"
        pipeline = pipeline_of(folder)
        assert pipeline.exists() or folder.name != "default"
        if pipeline.exists():
            assert pipeline.read_text().endswith(pipeline_text(folder, declared))
        for key in [*written.cells, *written.pivots, *written.assistants]:
            assert re.fullmatch(r"[a-z0-9-]+", key)
        # DVC takes a time that grows with the square of the cells of one pipeline.
        assert len(written.cells) < 400


def test_the_report_of_a_study_depends_on_its_own_results_alone(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, "one", [ROW | {"methods": ["ce"], "seeds": [0]}])
    write_study(tmp_path, "two", [ROW])
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    lines = plan()
    assert lines[0] == "studies/one/cells.yaml: 1 cells, 0 pivots, written"
    assert list(Path("studies").rglob("dvc.yaml")) == []
    lines = plan(wanted=[Path("studies/one")])
    assert lines[0] == "studies/one/cells.yaml: 1 cells, 0 pivots, up to date"
    assert sorted(Path("studies").rglob("dvc.yaml")) == [
        Path("studies/one/dvc.yaml"),
        Path("studies/pools/digits/dvc.yaml"),
    ]
    stages = read_yaml(Path("studies/one/dvc.yaml"))["stages"]
    assert list(stages) == ["report"]
    assert stages["report"]["wdir"] == "../.."
    assert [dep for dep in stages["report"]["deps"] if dep.startswith("results/")] == [
        "results/digits/trained/digits-r26-r8-ce-s0.json",
        "results/digits/evaluated/digits-r26-r8-ce-s0.json",
    ]
    pool = read_yaml(Path("studies/pools/digits/dvc.yaml"))["stages"]
    assert list(pool) == ["behaviour", "prepare", "pretrain", "assist", "train", "evaluate"]
    assert load_study(Path("studies/pools/digits")).cell("digits-r26-r8-orc-s5").seed == 5
