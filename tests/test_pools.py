"""Pools come and go with the studies that declare them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orc_repro.errors import UserError
from orc_repro.plan import plan
from orc_repro.yaml_files import read_yaml
from tests.project import ROOT, command
from tests.stages.commands import orc_repro
from tests.test_plan import ROW, write_study

POOL = Path("studies/pools/digits")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study whose cells are in a pool, planned."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    write_study(tmp_path, "one", [ROW])
    plan(wanted=[Path("studies/one")])
    (POOL / "behaviour.json").write_text("{}")
    assert {path.name for path in POOL.iterdir()} == {"cells.yaml", "dvc.yaml", "behaviour.json"}
    return tmp_path


def take_own_experiment(study: str = "one") -> None:
    path = Path("studies") / study / "study.yaml"
    path.write_text(path.read_text().replace("experiment: null", "experiment: e"))


def test_a_pool_that_no_study_declares_any_more_is_named_and_removed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take_own_experiment()
    code, said = orc_repro(capsys, "check")
    assert code == 2
    assert f"no study declares {POOL} any more; `orc-repro plan` removes it" in said
    assert (
        plan()[-1]
        == f"{POOL}: no study declares it; cells.yaml and dvc.yaml and behaviour.json removed"
    )
    assert not POOL.exists()
    assert not any(line.startswith(str(POOL)) for line in plan())


def test_what_was_measured_in_it_is_kept_and_named(project: Path) -> None:
    results = Path("results/digits/evaluated/digits-r26-r8-ce-s0.json")
    results.parent.mkdir(parents=True)
    results.write_text("{}")
    lock = POOL / "dvc.lock"
    lock.write_text("schema: '2.0'\n")
    take_own_experiment()
    gone = f"{POOL}: no study declares it; cells.yaml and dvc.yaml and behaviour.json removed"
    assert plan()[-1] == f"{gone}; {lock} and results/digits kept, for you to delete"
    command(project, "dvc", "init", "-q", "--no-scm")
    command(project, "dvc", "stage", "list", "--all")  # no output of two stages
    assert results.exists() and [*POOL.iterdir()] == [lock]
    assert plan()[-1].startswith("studies/one/cells.yaml")  # said once


def test_a_pool_that_another_study_declares_stays(project: Path) -> None:
    write_study(project, "two", [ROW | {"dataset": "cifar10-small"}])
    plan()
    take_own_experiment("two")
    assert plan()[-1].startswith("studies/pools/cifar10-small: no study declares it")
    assert list(read_yaml(POOL / "cells.yaml")["cells"])


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("name", ["my study", "-x", "o" * 129])
def test_a_study_of_a_name_that_is_no_name_is_refused_in_a_sentence(
    project: Path, name: str, own: bool
) -> None:
    write_study(project, name, [ROW], own=own)
    with pytest.raises(UserError, match=f"studies/{name}: a study's folder begins with a letter"):
        plan()


def test_what_somebody_wrote_by_hand_is_not_removed(project: Path) -> None:
    mine = Path("studies/pools/mine/dvc.yaml")
    mine.parent.mkdir()
    mine.write_text("stages: {}\n")
    plan()
    assert mine.exists()
