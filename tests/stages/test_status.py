"""What is measured, running, stopped and missing, told from files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from orc_repro.errors import UserError
from orc_repro.stages.status import STATES, lines, status
from tests.reliability.machine import cell_of, make_project, run_folder
from tests.stages.commands import orc_repro, stop_early

CELL, OTHER = cell_of("orc"), cell_of("ce")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("status") / "made")


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    for name in ("DVC_ROOT", "DVC_STAGE", "ORC_SCRATCH", "ORC_RUN_PID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "project"


def state_of(cell: str) -> str:
    (standing,) = (s for s in status()[0] if s.study == "default")
    (state,) = (state for state in STATES if cell in standing.cells[state])
    return state


def test_a_cell_goes_from_missing_over_stopped_and_trained_to_measured(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert state_of(CELL) == state_of(OTHER) == "missing"
    stop_early(capsys, CELL)
    assert state_of(CELL) == "stopped" and state_of(OTHER) == "missing"
    with FileLock(run_folder(project, CELL) / "run.lock"):
        (run,) = status()[1]
        assert (run.cell, run.running, run.epoch, run.left_s) == (CELL, True, 0, None)
        assert state_of(CELL) == "running"
        assert lines()[-1] == f"running: {CELL}, 0 of {run.epochs} epochs done"
    assert lines()[-1].startswith(f"stopped: {CELL}, 0 of ")
    assert orc_repro(capsys, "train", CELL)[0] == 0
    assert state_of(CELL) == "trained" and status()[1] == []
    assert orc_repro(capsys, "evaluate", CELL)[0] == 0
    assert state_of(CELL) == "measured"


def test_a_log_that_a_full_disk_tore_is_read_up_to_there(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_early(capsys, CELL, steps=42)
    with (run_folder(project, CELL) / "metrics.jsonl").open("a") as log:
        log.write('{"time_ms": 17')
    code, said = orc_repro(capsys, "status")
    assert code == 0 and f"stopped: {CELL}, 1 of 3 epochs done" in said


def test_a_study_is_shown_cell_by_cell_and_every_study_in_a_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = orc_repro(capsys, "status", "default")
    assert code == 0 and f"missing   {CELL}" in said.splitlines()
    code, said = orc_repro(capsys, "status")
    counts = {line.split()[0]: line.split()[1:] for line in said.splitlines()}
    assert counts["study"] == ["cells", *STATES]
    assert counts["default"][0] == counts["default"][-1] != "0"
    code, said = orc_repro(capsys, "status", "nothing")
    assert code == 2 and "is no study" in said


def test_a_run_folder_that_is_none_is_passed_over(project: Path) -> None:
    (project / ".orc/runs/other").mkdir(parents=True)
    (project / ".orc/runs/other/run.json").write_text("{")
    assert status()[1] == []


def test_where_there_is_no_study_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="holds no study"):
        status()
