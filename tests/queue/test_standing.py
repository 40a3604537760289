"""What counts as done, from files alone."""

from __future__ import annotations

import shutil
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
import yaml

from orc_repro.cells import Cells, Study, load_study
from orc_repro.config import Params, load_params
from orc_repro.fingerprint import file_digest
from orc_repro.queue import known
from orc_repro.queue.standing import is_done, manifest_if_prepared
from orc_repro.stages.prepare import prepare
from orc_repro.stages.pretrain import pretrain
from orc_repro.stages.train import train
from tests.data.made_photos import make_tree, photo_config, photo_params
from tests.project import ROOT
from tests.queue.made import CELLS, PIVOT, inside, make
from tests.reliability.machine import run_folder


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


def test_a_teachers_weights_count_if_their_run_or_dvc_knows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return file_digest(path)

    monkeypatch.setattr(known, "file_digest", counted)
    with inside(make(tmp_path / "project")):
        study = load_study()
        prepare(study.params, "digits")
        pretrain(study, PIVOT, "cpu")
        weights = Path(f"weights/pivots/{PIVOT}.safetensors")
        history = Path(f"results/default/trained/{PIVOT}.json")
        whole, of_whole = weights.read_bytes(), history.read_bytes()
        assert all(is_done(study, "pretrain", PIVOT) for _ in range(3))
        assert hashed == [weights.resolve()]

        weights.write_bytes(whole[:-1] + b"x")
        assert not is_done(study, "pretrain", PIVOT)
        pretrain(study, PIVOT, "cpu")  # from the last checkpoint
        assert is_done(study, "pretrain", PIVOT) and weights.read_bytes() == whole

        outcome = run_folder(Path.cwd(), PIVOT) / "outcome.json"
        outcome.write_text("{")
        assert not is_done(study, "pretrain", PIVOT)
        outcome.unlink()
        assert not is_done(study, "pretrain", PIVOT)
        outs = [
            {"path": path.as_posix(), "md5": md5(path.read_bytes()).hexdigest()}
            for path in (history, weights)
        ]
        stages = {f"pretrain@{PIVOT}": {"outs": outs}}
        Path("dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
        assert is_done(study, "pretrain", PIVOT)
        # Of another run than the one that DVC has.
        history.write_bytes(of_whole + b"\n")
        assert not is_done(study, "pretrain", PIVOT)


def test_a_cell_is_trained_only_if_its_weights_are_those_of_its_run(tmp_path: Path) -> None:
    with inside(make(tmp_path / "project")):
        study, cell = load_study(), CELLS[0]
        prepare(study.params, "digits")
        train(study, cell, "cpu")
        assert is_done(study, "train", cell)
        weights = Path(f"weights/cells/{cell}/last/resnet8.safetensors")
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # as of another branch
        assert not is_done(study, "train", cell)
        train(study, cell, "cpu")
        assert is_done(study, "train", cell) and weights.read_bytes() == whole
        # Finished on another machine: nobody here knows better than that all is there.
        shutil.rmtree(run_folder(Path.cwd(), cell))
        assert is_done(study, "train", cell)
        weights.unlink()
        assert not is_done(study, "train", cell)
