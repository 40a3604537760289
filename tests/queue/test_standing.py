"""What counts as done, from files alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from orc_repro.cells import Cells, Study
from orc_repro.config import Params, load_params
from orc_repro.queue.standing import manifest_if_prepared
from orc_repro.stages.prepare import prepare
from tests.data.made_photos import make_tree, photo_config, photo_params
from tests.project import ROOT
from tests.queue.made import inside


def study_of(params: Params) -> Study:
    """Nothing but its parameters."""
    none: dict[str, Any] = {"datasets": {}, "pivots": {}, "assistants": {}, "cells": {}}
    return Study(params, Cells(title="", experiment="", **none), Path("studies/none"))


def changed(params: Params, dataset: str, changes: dict[str, Any]) -> Params:
    config = params.data[dataset].model_copy(update=changes)
    return params.model_copy(update={"data": {dataset: config}})


def check_prepared(params: Params, dataset: str, others: list[dict[str, Any]]) -> None:
    """Data counts as what it was made from, and where that was not noted by its manifest."""
    assert manifest_if_prepared(study_of(params), dataset) is None
    made = prepare(params, dataset)
    assert manifest_if_prepared(study_of(params), dataset) == made
    for changes in others:
        other = study_of(changed(params, dataset, changes))
        assert manifest_if_prepared(other, dataset) is None, changes
    # Of a copy on another machine nothing was noted.
    shutil.move(".orc/prepared", "elsewhere")
    for changes in others:
        other = study_of(changed(params, dataset, changes))
        assert manifest_if_prepared(other, dataset) == made, changes
    other = study_of(changed(params, dataset, {"split_seed": 9}))
    assert manifest_if_prepared(other, dataset) is None
    shutil.move("elsewhere", ".orc/prepared")


def test_digits_are_prepared_only_as_params_say(tmp_path: Path) -> None:
    params = load_params(ROOT / "params.yaml")
    with inside(tmp_path):
        check_prepared(params, "digits", [{"test_fraction": 0.3}])
        # What was made from something else is noted beside it.
        other = changed(params, "digits", {"test_fraction": 0.3})
        made = prepare(other, "digits")
        assert manifest_if_prepared(study_of(other), "digits") == made
        assert manifest_if_prepared(study_of(params), "digits") is None


def test_photographs_are_prepared_only_as_params_say(tmp_path: Path) -> None:
    with inside(tmp_path):
        root = make_tree(Path("tree"), scale=0.1, odd=False)
        config = photo_config(root, crop=16, resize=20, shards={"root": "shards", "side": 20})
        params = photo_params(config)
        others: list[dict[str, Any]] = [{"crop": 8}, {"root": "another"}, {"mean": (0.1, 0.1, 0.1)}]
        check_prepared(params, "photos", others)
