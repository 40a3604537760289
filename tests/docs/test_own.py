"""What docs/own.md shows: declarations that can be read, and a loop that trains."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from orc_repro.config import Params, load_params
from orc_repro.plan import Declaration, planned
from tests.project import ROOT


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    found = re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S)
    return [text for name, text in found if name == language]


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[str]]:
    """The cells of a study, declared beside those that are there, and what is new in data."""

    def expanded(study: str, data: str = "{}") -> set[str]:
        shutil.copytree(ROOT / "studies", tmp_path / "studies")
        before = {key for cells in planned(known).values() for key in cells.cells}
        assert Declaration.model_validate(yaml.safe_load(study)).rows
        (tmp_path / "studies/quarter").mkdir(parents=True)
        (tmp_path / "studies/quarter/study.yaml").write_text(study)
        entries = known.model_dump() | {"data": known.model_dump()["data"] | yaml.safe_load(data)}
        found = planned(Params.model_validate(entries))
        return {key for cells in found.values() for key in cells.cells} - before

    known = load_params(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return expanded


def test_the_declared_images_become_cells(cells: Callable[..., set[str]]) -> None:
    entry, study, _ = blocks("own.md", "yaml")
    made = cells(study, entry)
    assert "mine-r20-r8-orc-s2" in made and len(made) == 9


def test_the_declared_photographs_become_cells(cells: Callable[..., set[str]]) -> None:
    entry, study = blocks("imagenet.md", "yaml")
    assert cells(study, entry) == {
        f"photos-r34-r18-{method}-s0" for method in ("ce", "kd-imagenet", "orc-imagenet")
    }


def test_an_afternoon_is_twelve_cells_in_the_pool(cells: Callable[..., set[str]]) -> None:
    *_, study = blocks("own.md", "yaml")
    assert cells(study) == {
        f"cifar100-r20-r8-{method}-s{seed}"
        for method in ("ce", "kd", "dml", "orc")
        for seed in range(3)
    }


def test_the_loop_trains_and_changes_roles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = blocks("own.md", "python")
    names: dict[str, Any] = {}
    exec(compile(code, "docs/own.md", "exec"), names)
    promoted = names["promoted"]
    assert len(promoted) == 2 * 4
    assert all(len(teachers) == 1 for teachers in promoted)
    assert {name for teachers in promoted for name in teachers} <= {"resnet14", "resnet8"}
    assert "resnet8/loss" in capsys.readouterr().out
