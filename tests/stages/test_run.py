"""Whether a run starts, goes on, starts over or has nothing to do; and what it says then."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml
from filelock import FileLock

from orc_repro.errors import UserError
from orc_repro.fingerprint import file_digest
from orc_repro.stages import run as run_module
from orc_repro.tracking.outcome import read_outcome
from orc_repro.tracking.tracker import Tracker
from tests.reliability.machine import cell_of, make_project, outputs, run_folder
from tests.stages.commands import orc_repro, stop_early

CELL = cell_of("orc")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("run") / "made")


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    for name in ("DVC_ROOT", "DVC_STAGE", "ORC_SCRATCH", "ORC_RUN_PID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "project"


def test_a_finished_run_is_not_trained_again_unless_told_to(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orc_repro(capsys, "train", CELL)[0] == 0
    before = outputs(project)
    stamps = {name: (project / name).stat().st_mtime_ns for name in before}
    code, said = orc_repro(capsys, "train", CELL)
    assert (code, said) == (0, f"{CELL} is trained already; --restart trains it again\n")
    assert {name: (project / name).stat().st_mtime_ns for name in before} == stamps
    attempt = (run_folder(project, CELL) / "run.json").read_text()
    code, said = orc_repro(capsys, "train", CELL, "--restart")
    assert "epoch 1/3" in said and "epoch 3/3" in said
    assert outputs(project) == before
    assert (run_folder(project, CELL) / "run.json").read_text() != attempt  # another MLflow run


def test_two_cells_of_equal_content_are_trained_once(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["methods"]["same"] = params["methods"]["orc"]
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    study = project / "studies/default/study.yaml"
    declared = yaml.safe_load(study.read_text())
    declared["rows"][0]["methods"] = ["orc", "same"]
    study.write_text(yaml.safe_dump(declared, sort_keys=False))
    assert orc_repro(capsys, "plan")[0] == 0
    assert orc_repro(capsys, "train", CELL)[0] == 0
    attempt = (run_folder(project, CELL) / "run.json").read_text()
    code, said = orc_repro(capsys, "train", cell_of("same"))
    assert code == 0 and "epoch 1/3" not in said
    made = {
        cell: {
            path.name: file_digest(path)
            for path in (project / f"weights/cells/{cell}/last").glob("*.safetensors")
        }
        for cell in (CELL, cell_of("same"))
    }
    assert made[CELL] == made[cell_of("same")] and len(made[CELL]) == 3
    for cell in (CELL, cell_of("same")):
        assert "trained already" in orc_repro(capsys, "train", cell)[1]
    assert (run_folder(project, cell_of("same")) / "run.json").read_text() != attempt


def test_outputs_that_dvc_took_away_are_written_again_without_training(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orc_repro(capsys, "train", CELL)
    before = outputs(project)
    shutil.rmtree(project / f"weights/cells/{CELL}")
    (project / f"results/default/trained/{CELL}.json").unlink()
    code, said = orc_repro(capsys, "train", CELL)
    assert (code, said) == (0, "")
    assert outputs(project) == before


def test_half_an_output_that_a_killed_process_left_is_gone_at_the_end(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orc_repro(capsys, "train", CELL)[0] == 0
    expected = outputs(project)
    half = project / f"results/default/trained/.{CELL}.json.12345.partial"
    for restart in ([], ["--restart"]):
        half.write_text("{")
        assert orc_repro(capsys, "train", CELL, *restart)[0] == 0
        assert outputs(project) == expected


def test_a_stop_while_a_finished_run_is_delivered_keeps_it_and_says_so_to_dvc(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def deliver(tracker: Tracker) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Tracker, "deliver", deliver)
    code, said = orc_repro(capsys, "train", CELL)
    assert code == 130 and "stopped by SIGINT when the run was finished" in said
    ended = read_outcome(run_folder(project, CELL))
    assert ended is not None and ended.status == "FINISHED"
    assert "is trained already" in orc_repro(capsys, "train", CELL)[1]


def test_a_stop_while_a_failed_run_is_delivered_is_not_forgotten(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise UserError("the loss of a is not finite")

    def deliver(tracker: Tracker) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(run_module, "fit", fail)
    monkeypatch.setattr(Tracker, "deliver", deliver)
    code, said = orc_repro(capsys, "train", CELL)
    assert code == 143
    assert "stopped by SIGTERM when the run had ended: the loss of a is not finite" in said
    ended = read_outcome(run_folder(project, CELL))
    assert ended is not None and ended.status == "FAILED"


def test_a_stop_while_a_finished_run_is_delivered_late_is_not_forgotten(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late:
        def __init__(self, *_: object) -> None: ...

        def start(self) -> None: ...

        def stop(self, _: object) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    assert orc_repro(capsys, "train", CELL)[0] == 0
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("enabled: false", "enabled: true"))
    monkeypatch.setattr(run_module, "Sender", Late)
    code, said = orc_repro(capsys, "train", CELL)
    assert code == 130 and "stopped by SIGINT when the run was finished" in said


def test_no_memory_for_the_networks_is_one_sentence(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object) -> None:
        torch.empty(2**50)

    monkeypatch.setattr("orc_repro.stages.train.build_networks", too_large)
    code, said = orc_repro(capsys, "train", CELL)
    assert code == 2 and said.startswith("orc-repro: no memory is left (")


def test_a_stopped_run_says_where_and_goes_on_there(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = stop_early(capsys, CELL, steps=40)  # 38 steps, 1 of 3 validations, 1 look more
    assert said == "orc-repro: stopped by SIGTERM while epoch 1 was validated"
    said = stop_early(capsys, CELL, steps=9)  # 3 validations, 1 look after the epoch, 5 steps
    assert said == "orc-repro: stopped by SIGTERM after step 5 of 38 in epoch 2"
    code, said = orc_repro(capsys, "train", CELL)
    assert code == 0 and "epoch 1/3" not in said and "epoch 2/3" in said


def test_restart_forgets_what_was_begun(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stop_early(capsys, CELL)
    code, said = orc_repro(capsys, "train", CELL, "--restart")
    assert code == 0 and "epoch 1/3" in said and "note:" not in said


@pytest.mark.parametrize("missing", ["store", "data"])
def test_restart_forgets_nothing_before_all_checks_have_passed(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
) -> None:
    assert orc_repro(capsys, "train", CELL)[0] == 0
    folder = run_folder(project, CELL)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with monkeypatch.context() as patch:
        if missing == "store":
            params = project / "params.yaml"
            params.write_text(params.read_text().replace("enabled: false", "enabled: true"))
            patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        else:
            (image,) = (project / "data/prepared/digits").glob("train*images*")
            image.write_bytes(image.read_bytes()[:-1])
        code, said = orc_repro(capsys, "train", CELL, "--restart")
    assert code == 2 and ("does not answer" in said or "damaged" in said), said
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_another_config_starts_over_and_says_why_and_where_the_old_run_is(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_early(capsys, CELL)
    folder = run_folder(project, CELL)
    params = project / "params.yaml"
    assert "beta: 0.5\n" in params.read_text()
    params.write_text(params.read_text().replace("beta: 0.5\n", "beta: 0.25\n"))
    code, said = orc_repro(capsys, "train", CELL)
    assert code == 0
    (note,) = [line for line in said.splitlines() if line.startswith("note: ")]
    assert f"{CELL} starts over, because method.beta was 0.5 and is 0.25" in note
    assert note.endswith(f"is kept in {folder}")
    assert list(folder.glob("checkpoint-*"))


def test_a_checkpoint_of_another_run_is_refused_and_its_difference_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_early(capsys, cell_of("kd"))
    stop_early(capsys, CELL)
    theirs, ours = run_folder(project, cell_of("kd")), run_folder(project, CELL)
    for path in ours.glob("checkpoint-*"):
        path.unlink()
    for name in ("checkpoint-000000-000000005.pt", "metrics.jsonl", "roles.jsonl"):
        shutil.copy(theirs / name, ours / name)
    code, said = orc_repro(capsys, "train", CELL)
    assert code == 2
    assert f"cannot be continued here: cell was {cell_of('kd')} and is {CELL}" in said
    assert "`--restart` starts over" in said
    assert orc_repro(capsys, "train", CELL, "--restart")[0] == 0


def test_one_process_at_a_time_has_a_run(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_early(capsys, CELL)
    monkeypatch.setattr(run_module, "WAIT_FOR_OTHER_S", 0.2)
    with FileLock(run_folder(project, CELL) / "run.lock"):
        code, said = orc_repro(capsys, "train", CELL)
    assert code == 2 and f"another process is training {CELL}" in said
    assert orc_repro(capsys, "train", CELL)[0] == 0


def test_a_damaged_file_of_the_run_is_one_sentence(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_early(capsys, CELL)
    about = run_folder(project, CELL) / "run.json"
    about.write_text(about.read_text()[:-20])
    code, said = orc_repro(capsys, "train", CELL)
    assert code == 2 and f"{about} is damaged; it says which MLflow run this is" in said
    assert orc_repro(capsys, "train", CELL, "--restart")[0] == 0
