"""Weights, history and result are of one run, wherever a run is cut short or files are mixed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orc_repro.cells import load_study
from orc_repro.errors import UserError
from orc_repro.fingerprint import file_digest
from orc_repro.report.results import History, Result, read_history
from orc_repro.stages import given, pretrain, train
from orc_repro.stages.register import best_of_each_method
from orc_repro.stages.report import report
from orc_repro.stages.run import Run
from orc_repro.validation import read_json
from orc_repro.yaml_files import read_yaml
from tests.reliability.machine import PIVOT, cell_of, make_project
from tests.stages.commands import orc_repro

CELL = cell_of("kd")
OUTPUTS = ("weights", "roles", "results")
HISTORY = Path(f"results/default/trained/{CELL}.json")
RESULT = Path(f"results/default/evaluated/{CELL}.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a cell that is trained and evaluated."""
    project = make_project(tmp_path_factory.mktemp("one") / "made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.delenv("ORC_SCRATCH", raising=False)
        study = load_study()
        train.train(study, CELL, "cpu")
    return project


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    for name in ("DVC_ROOT", "DVC_STAGE", "ORC_SCRATCH", "ORC_RUN_PID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "project"


def change_recipe() -> None:
    params = read_yaml(Path("params.yaml"))
    params["recipes"]["digits"]["optimizer"]["learning_rate"] = 0.0007
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it."""


def at_each_write(work: Callable[[], object], *modules: Any) -> Iterator[int]:
    """Do a work again and again, killed before its first write, its second, and so on; each time
    among the outputs of before.
    """
    for name in OUTPUTS:
        shutil.copytree(name, f"before/{name}")
    for point in range(100):
        for name in OUTPUTS:
            shutil.rmtree(name)
            shutil.copytree(f"before/{name}", name)
        with pytest.MonkeyPatch.context() as patch:
            writes = iter(range(100))

            def dying(write: Callable[..., object]) -> Callable[..., object]:
                def run(*words: Any, **more: Any) -> object:
                    if next(writes) == point:  # noqa: B023
                        raise Killed
                    return write(*words, **more)

                return run

            for module in modules:
                for name in ("discard", "save_weights", "write_json", "role_table"):
                    if hasattr(module, name):
                        patch.setattr(module, name, dying(getattr(module, name)))
            patch.setattr(shutil, "rmtree", dying(shutil.rmtree))
            patch.setattr(Run, "finish", dying(Run.finish))
            try:
                work()
            except Killed:
                yield point
                continue
        yield point
        return
    raise AssertionError("it never ends")


def test_a_cell_is_never_evaluated_under_another_runs_name(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orc_repro(capsys, "evaluate", CELL)[0] == 0
    first = read_json(Result, RESULT)
    change_recipe()
    study = load_study()
    codes, pairs = list[int](), set[tuple[str, str]]()
    for _ in at_each_write(lambda: train.train(study, CELL, "cpu"), train):
        before = RESULT.read_bytes()
        code, said = orc_repro(capsys, "evaluate", CELL)
        codes.append(code)
        if code:
            assert code == 2 and "train the cell first" in said
            assert RESULT.read_bytes() == before
        result = read_json(Result, RESULT)
        pairs.add((result.fingerprint, result.weights_digest))
    # Between the removal of the history and its writing: two folders, four weights, roles.
    assert len(codes) >= 9 and codes.count(2) >= 6
    assert len(pairs) == len({name for name, _ in pairs}) == 2
    assert (first.fingerprint, first.weights_digest) in pairs


@pytest.mark.parametrize("taken", [False, True])
def test_a_pivots_history_is_never_beside_other_weights(
    project: Path, capsys: pytest.CaptureFixture[str], taken: bool
) -> None:
    weights = Path(f"weights/pivots/{PIVOT}.safetensors")
    if taken:
        study = read_yaml(Path("studies/default/study.yaml"))
        shutil.copy(weights, "theirs.safetensors")
        study["rows"][0]["pivot"]["weights"] = {
            "source": "file", "path": "theirs.safetensors", "min_top1": 1.0,
            "sha256": file_digest(weights),
        }  # fmt: skip
        Path("studies/default/study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
        orc_repro(capsys, "plan")
    else:
        change_recipe()
    (key,) = load_study().cells.pivots
    weights = weights.with_name(f"{key}.safetensors")
    if taken:
        pretrain.pretrain(load_study(), key, "cpu")
    summary = Path(f"results/default/trained/{key}.json")
    states = set()
    for _ in at_each_write(
        lambda: pretrain.pretrain(load_study(), key, "cpu", restart=taken), pretrain, given
    ):
        states.add(summary.exists())
        if summary.exists():
            assert read_json(History, summary).weights_digest == file_digest(weights)
    assert states == {True, False}


def put(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def test_weights_of_another_run_than_the_histories_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = HISTORY.read_bytes()
    change_recipe()
    assert orc_repro(capsys, "train", CELL)[0] == 0
    HISTORY.write_bytes(first)  # as git brings it, without DVC
    for digest in ({}, {"weights_digest": None}):  # an earlier version's: the run is known here
        put(HISTORY, **digest)
        code, said = orc_repro(capsys, "evaluate", CELL)
        assert code == 2 and "are not those of the run in" in said and "orc-repro train" in said
        assert not RESULT.exists()
    shutil.rmtree(".orc/runs")  # nothing is known of it
    assert orc_repro(capsys, "evaluate", CELL)[0] == 0


def test_a_result_and_a_history_of_two_runs_are_not_reported_together(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orc_repro(capsys, "evaluate", CELL)[0] == 0
    assert report(Path("studies/default")).is_dir()
    assert len([*best_of_each_method(load_study())]) == 1
    change_recipe()
    assert orc_repro(capsys, "train", CELL)[0] == 0
    for read in (
        lambda: report(Path("studies/default")),
        lambda: [*best_of_each_method(load_study())],
        lambda: read_history(read_json(Result, RESULT), HISTORY.parent),
    ):
        with pytest.raises(UserError, match=f"of two runs; `orc-repro evaluate {CELL}`"):
            read()
    assert orc_repro(capsys, "evaluate", CELL)[0] == 0
    assert report(Path("studies/default")).is_dir()
