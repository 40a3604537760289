"""What docs/own.md shows: declarations that can be read, and a loop that trains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orc_repro.config import Params, load_params
from orc_repro.plan import Declaration, planned
from tests.project import ROOT

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "docs/own.md").read_text(), re.M | re.S)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def test_the_declared_images_become_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, study = (yaml.safe_load(text) for text in blocks("yaml"))
    assert Declaration.model_validate(study).rows
    params = load_params(ROOT / "params.yaml").model_dump()
    (tmp_path / "studies/mine").mkdir(parents=True)
    (tmp_path / "studies/mine/study.yaml").write_text(yaml.safe_dump(study))
    monkeypatch.chdir(tmp_path)
    found = planned(Params.model_validate(params | {"data": params["data"] | entry}))
    cells = {key for cells in found.values() for key in cells.cells}
    assert "mine-r20-r8-orc-s2" in cells and len(cells) == 9


def test_the_loop_trains_and_changes_roles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = blocks("python")
    names: dict[str, Any] = {}
    exec(compile(code, "docs/own.md", "exec"), names)
    promoted = names["promoted"]
    assert len(promoted) == 2 * 4
    assert all(len(teachers) == 1 for teachers in promoted)
    assert {name for teachers in promoted for name in teachers} <= {"resnet14", "resnet8"}
    assert "resnet8/loss" in capsys.readouterr().out
