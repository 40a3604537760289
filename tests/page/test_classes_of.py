"""A cell's accuracies by class are drawn alike, whichever study has the cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from orc_repro.cells import Cell, Cells
from orc_repro.config import load_params
from orc_repro.files import write_json
from orc_repro.page.files import classes_of
from tests.project import ROOT
from tests.verdicts.made import result


def test_training_alone_is_beside_it_in_a_study_that_does_not_have_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = load_params(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    cell = Cell(
        study="cifar10-3k", dataset="cifar10-3k", group="r20-r8", method="orc", recipe="scaled",
        seed=3, teachers={}, starts_from="",
    )  # fmt: skip
    key, alone = "cifar10-3k-r20-r8-orc-s3", "cifar10-3k-r20-r8-ce-s3"
    cells = Cells(title="", experiment="", datasets={}, pivots={}, assistants={}, cells={key: cell})
    folder = Path("results/cifar10-3k/evaluated")
    folder.mkdir(parents=True)
    write_json(folder / f"{key}.json", result("orc", 3, 60.0, cell=key).model_dump())
    assert (
        classes_of("nothing", cells.model_copy(update={"cells": {"nothing": cell}}), params) is None
    )
    frame = classes_of(key, cells, params)
    assert frame is not None and list(frame) == ["class", "resnet8, after"]
    for recipe, expected in (("brief", None), ("scaled", 50.0)):
        other = result("ce", 3, 50.0, cell=alone, recipe=recipe)
        write_json(folder / f"{alone}.json", other.model_dump())
        frame = classes_of(key, cells, params)
        assert frame is not None
        assert frame.get("resnet8, alone", [None])[0] == expected
