"""A study is found by its name, by how that begins, or by its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from orc_repro.cells import DEFAULT_STUDY
from orc_repro.errors import UserError
from orc_repro.studies import find_declared, find_studies, find_study
from tests.project import ROOT

TABLE, POOL = Path("studies/table01_cifar10"), Path("studies/pools/cifar100-3k")


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    "wanted",
    ["table01_cifar10", "table01", "studies/table01_cifar10/", "./studies/table01_cifar10", TABLE],
)
def test_a_name_its_beginning_and_a_folder_are_one_study(wanted: str | Path) -> None:
    assert find_study(wanted) == find_declared(wanted) == TABLE
    assert find_studies([str(wanted)]) == ["table01_cifar10"]


def test_a_folder_from_the_root_is_the_same_study() -> None:
    assert find_study(ROOT / TABLE) == TABLE
    assert find_studies([str(ROOT / TABLE)]) == ["table01_cifar10"]


def test_a_pool_is_found_where_cells_are_asked_for_and_not_where_a_report_is() -> None:
    for wanted in ("cifar100-3k", "cifar100-3", str(POOL), POOL):
        assert find_study(wanted) == POOL
    assert find_study("cifar100") == Path("studies/pools/cifar100")  # itself, before what it begins
    for wanted in ("cifar100-3k", str(POOL)):
        with pytest.raises(UserError, match=f"{POOL} is a pool of cells; name a study that shows"):
            find_declared(wanted)
        with pytest.raises(UserError, match=f"{POOL} is a pool of cells; name a study that shows"):
            find_studies([wanted])


def test_a_pattern_stands_for_several_also_as_a_path() -> None:
    tables = ["scaled_table01", "scaled_table02", "scaled_table08"]
    assert find_studies(["scaled_table*"]) == tables
    assert find_studies(["studies/scaled_table*", "default", "scaled_table01"]) == [
        *tables,
        "default",
    ]
    assert find_studies([]) == []


@pytest.mark.parametrize("find", [find_study, find_declared, lambda word: find_studies([word])])
def test_none_and_several_are_said_in_a_sentence(find) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=r"'table0' is more than one study \(table01_cifar10, "):
        find("table0")
    with pytest.raises(UserError, match=r"'studies/table11' is no study \(default, "):
        find("studies/table11")
    with pytest.raises(UserError, match="'' is more than one study"):
        find("")


def test_cells_in_another_folder_are_taken_as_they_lie(tmp_path: Path) -> None:
    (tmp_path / "cells.yaml").write_text("cells: {}\n")
    assert find_study(tmp_path) == tmp_path


def test_that_the_default_is_missing_is_told_by_who_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_study(DEFAULT_STUDY) == find_declared(str(DEFAULT_STUDY)) == DEFAULT_STUDY
    with pytest.raises(UserError, match=r"'table01' is no study \(\)"):
        find_study("table01")
