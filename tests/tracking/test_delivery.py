"""Delivery to a real store: everything arrives, once, under names that compare."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from orc_repro.config import Tracking, load_params
from orc_repro.distill.roles import RoleChange
from orc_repro.errors import UserError
from orc_repro.interruption import Interruption
from orc_repro.stages.sync import run_folders, sync
from orc_repro.tracking import entries, sender, store
from orc_repro.tracking.delivery import Delivery, deliver
from orc_repro.tracking.description import REQUIRED_TAGS, Description, git_state, run_params
from orc_repro.tracking.runlog import RunLog, commit_all, forget
from orc_repro.tracking.tracker import Tracker, ask_new_store

ROOT = Path(__file__).parents[2]
SETTINGS = Tracking(enabled=True, role_changes="all")
STUDENTS = ("resnet14", "resnet8")


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def describe(seed: int = 0, attempt: str = "first", method: str = "orc") -> Description:
    return Description(
        study="test",
        experiment="orc/test",
        fingerprint=f"{method}-{seed}",
        attempt=attempt,
        cell=f"cell-{method}-s{seed}",
        row=f"row-{method}",
        row_name=f"{method} row",
        run_name=f"{method} seed {seed}",
        epochs=2,
        students=STUDENTS,
        params={"method": method, "seed": str(seed)},
        tags=dict.fromkeys(REQUIRED_TAGS, "x") | {"method": method, "seed": str(seed)},
    )


def track(
    folder: Path, about: Description, settings: Tracking = SETTINGS, resumed: bool = False
) -> Tracker:
    ask_new_store(settings)
    folder.mkdir(parents=True, exist_ok=True)
    return Tracker(folder, about, settings, resumed, Interruption())


def finish(tracker: Tracker, folder: Path, **how: Any) -> str | None:
    tracker.end("FINISHED", **{"figures": {"cost/seconds": 1.0}} | how)
    commit_all(folder)
    return tracker.deliver()


def run_of(scratch: Path, about: Description, changes: int = 3) -> Path:
    """A finished run's folder, delivered by the tracker."""
    folder = scratch / "runs" / about.fingerprint
    forget(folder)
    tracker = track(folder, about)
    log = RunLog(folder)
    for epoch in range(2):
        log.metrics(epoch, {"val/top1": 50.0 + epoch, "train/loss": 2.0 - epoch})
    for i in range(changes):
        came = STUDENTS[i % 2]
        log.role_change(RoleChange(0, 10 * i, (), (came,), (came,), {"resnet8": 0.5}))
    log.flush()
    log.close()
    (scratch / "note.txt").write_text("kept")
    assert (
        finish(
            tracker,
            folder,
            artifacts={"notes/note.txt": scratch / "note.txt"},
            figures={"cost/seconds": 1.5},
        )
        is None
    )
    return folder


def runs(level: str = "seed") -> list[Any]:
    client = store.open_client()
    experiment = client.get_experiment_by_name("orc/test")
    return list(client.search_runs([experiment.experiment_id], f"tags.level = '{level}'"))


def test_a_run_arrives_whole(scratch: Path) -> None:
    run_of(scratch, describe())
    client = store.open_client()
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert run.data.params == {"method": "orc", "seed": "0"}
    assert run.data.metrics["val/top1"] == 51.0
    assert run.data.metrics["cost/seconds"] == 1.5
    history = client.get_metric_history(run.info.run_id, "val/top1")
    assert [(m.step, m.value) for m in history] == [(0, 50.0), (1, 51.0)]
    teachers = client.get_metric_history(run.info.run_id, "role_it/teacher")
    assert [(m.step, m.value) for m in teachers] == [(0, 0.0), (10, 1.0), (20, 0.0)]
    assert [f.path for f in client.list_artifacts(run.info.run_id, "notes")] == ["notes/note.txt"]


def test_delivering_again_adds_nothing(scratch: Path) -> None:
    folder = run_of(scratch, describe())
    (folder / "delivered.json").unlink()  # as if the answer of the last delivery had been lost
    assert deliver(folder, SETTINGS) is None
    assert deliver(folder, SETTINGS) is None
    client = store.open_client()
    (run,) = runs()
    assert len(client.get_metric_history(run.info.run_id, "val/top1")) == 2
    assert len(client.get_metric_history(run.info.run_id, "role_it/teacher")) == 3
    assert run_folders() == [folder]


def test_seeds_are_children_of_their_row(scratch: Path) -> None:
    for method in ("ce", "orc"):
        for seed in (0, 1):
            run_of(scratch, describe(seed, method=method))
    parents = {run.data.tags["row"]: run.info.run_id for run in runs("row")}
    assert parents.keys() == {"row-ce", "row-orc"}
    for run in runs():
        assert run.data.tags["mlflow.parentRunId"] == parents[run.data.tags["row"]]
    assert len(runs()) == 4


def test_a_run_made_again_supersedes_the_earlier_one_also_if_that_was_killed(
    scratch: Path,
) -> None:
    track(scratch / "runs" / "orc-0", describe()).deliver()  # and never ended
    run_of(scratch, describe(attempt="second"))
    marks = {run.data.tags["attempt"]: run.data.tags["superseded"] for run in runs()}
    assert marks == {"first": "true", "second": "false"}
    assert {run.data.tags["attempt"]: run.info.status for run in runs()} == {
        "first": "KILLED",
        "second": "FINISHED",
    }


def test_parameters_arrive_even_if_whoever_created_the_run_was_killed_before_them(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scratch / "runs" / "x"
    with monkeypatch.context() as killed:
        killed.setattr(entries, "_send_params", lambda *_: 1 / 0)
        assert "division by zero" in str(track(folder, describe()).deliver())
    assert deliver(folder, SETTINGS) is None
    assert [run.data.params for run in runs()] == [{"method": "orc", "seed": "0"}]
    (row,) = runs("row")
    assert row.data.params == {"method": "orc"} and row.info.status == "FINISHED"


def test_a_run_made_again_does_not_inherit_the_earlier_ones_points(scratch: Path) -> None:
    run_of(scratch, describe(), changes=5)
    run_of(scratch, describe(attempt="second"), changes=2)
    client = store.open_client()
    (again,) = (run for run in runs() if run.data.tags["attempt"] == "second")
    assert len(client.get_metric_history(again.info.run_id, "role_it/teacher")) == 2


def test_a_resumed_run_goes_on_in_the_same_mlflow_run(scratch: Path) -> None:
    folder = scratch / "runs" / "x"
    first = track(folder, describe())
    log = RunLog(folder)
    log.metrics(0, {"val/top1": 1.0})
    older = log.flush()
    log.checkpointed(older)
    log.metrics(1, {"val/top1": 2.0})
    log.checkpointed(log.flush())  # a checkpoint that is damaged when the run goes on
    log.metrics(2, {"val/top1": 3.0})
    log.flush()
    log.close()
    assert first.finish("KILLED", "stopped by SIGTERM") is None
    (run,) = runs()
    assert (run.info.status, run.data.tags["status_reason"]) == ("KILLED", "stopped by SIGTERM")
    second = track(folder, describe(attempt="second"), resumed=True)
    log = RunLog(folder)
    log.resume(older)
    log.metrics(1, {"val/top1": 2.0})
    log.flush()
    log.close()
    (scratch / "note.txt").write_text("kept")
    assert finish(second, folder, artifacts={"notes/note.txt": scratch / "note.txt"}) is None
    client = store.open_client()
    (run,) = runs()
    assert (run.info.status, run.data.tags["status_reason"]) == ("FINISHED", "")
    assert [f.path for f in client.list_artifacts(run.info.run_id, "notes")] == ["notes/note.txt"]
    history = client.get_metric_history(run.info.run_id, "val/top1")
    assert [(m.step, m.value) for m in history] == [(0, 1.0), (1, 2.0)]


def test_more_points_than_a_batch_holds_all_arrive(scratch: Path) -> None:
    run_of(scratch, describe(), changes=2345)
    client = store.open_client()
    (run,) = runs()
    assert len(client.get_metric_history(run.info.run_id, "role_it/teacher")) == 2345


def test_the_best_of_two_teachers_is_sent_also_if_it_was_declared_second(scratch: Path) -> None:
    folder = scratch / "runs" / "x"
    tracker = track(folder, describe())
    with closing(RunLog(folder)) as log:
        scores = {"resnet14": 0.6, "resnet8": 0.4}
        log.role_change(RoleChange(0, 5, (), STUDENTS, STUDENTS, scores))
        log.flush()
    assert finish(tracker, folder) is None
    (run,) = runs()
    (point,) = store.open_client().get_metric_history(run.info.run_id, "role_it/teacher")
    assert (point.step, point.value) == (5, float(STUDENTS.index("resnet8")))


def test_a_failed_run_says_why(scratch: Path) -> None:
    folder = scratch / "runs" / "x"
    tracker = track(folder, describe())
    RunLog(folder).close()
    tracker.finish("FAILED", "the loss of a is not finite")
    (run,) = runs()
    assert run.info.status == "FAILED"
    assert run.data.tags["status_reason"] == "the loss of a is not finite"


def test_without_tracking_the_files_are_complete_and_can_be_delivered_later(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scratch / "runs" / "x"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens there
    tracker = track(folder, describe(), SETTINGS.model_copy(update={"enabled": False}))
    log = RunLog(folder)
    log.metrics(0, {"val/top1": 7.0})
    log.flush()
    log.close()
    assert finish(tracker, folder) is None
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert deliver(folder, SETTINGS) is None
    assert [run.data.metrics["val/top1"] for run in runs()] == [7.0]


def test_a_store_that_does_not_answer_is_one_sentence_without_its_password(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9 does not answer") as caught:
        ask_new_store(SETTINGS)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_store_that_is_known_and_locked_costs_neither_time_nor_data(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "GIVE_UP_S", 3.0)
    run_of(scratch, describe(0))
    other = sqlite3.connect(scratch / "mlflow.db")
    other.execute("BEGIN EXCLUSIVE")
    folder = scratch / "runs" / "later"
    began = time.monotonic()
    tracker = track(folder, describe(1))
    assert time.monotonic() - began < 5  # the store would be waited for much longer
    with closing(RunLog(folder)) as log:
        log.metrics(0, {"val/top1": 9.0})
        log.flush()
    problem = str(finish(tracker, folder))
    assert "(it takes more than 3 s); `orc-repro sync` will" in problem
    assert time.monotonic() - began < 60
    other.rollback()
    other.close()
    for thread in threading.enumerate():  # a process would have ended without it
        if thread.name == "mlflow-sender":
            thread.join()
    assert sync(SETTINGS) == (2, [])
    assert sorted(run.data.metrics["val/top1"] for run in runs()) == [9.0, 51.0]


def test_a_run_whose_process_is_gone_without_a_word_is_killed_for_mlflow(scratch: Path) -> None:
    folder = scratch / "runs" / "x"
    track(folder, describe()).deliver()
    (run,) = runs()
    assert run.info.status == "RUNNING"
    lock = FileLock(folder / "run.lock")
    with lock:
        assert sync(SETTINGS) == (0, [])  # its process is alive
    (run,) = runs()
    assert run.info.status == "RUNNING"
    assert sync(SETTINGS) == (1, [])
    (run,) = runs()
    assert run.info.status == "KILLED"
    assert run.data.tags["status_reason"] == "the process was gone without a word"


def test_a_delivery_that_fails_is_reported_and_leaves_the_run_to_be_sent(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_of(scratch, describe())
    (folder / "delivered.json").unlink()

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(Delivery, "drain", refuse)
        assert "disk full" in str(deliver(folder, SETTINGS))
    assert deliver(folder, SETTINGS) is None


def test_a_run_that_was_deleted_is_settled_and_said_once(
    scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_of(scratch, describe())
    client = store.open_client()
    (run,) = runs()
    client.delete_run(run.info.run_id)
    assert sync(SETTINGS) == (1, []) == sync(SETTINGS)
    said = capsys.readouterr().err
    assert said.count("note: the run of cell-orc-s0 was deleted in sqlite:///") == 1
    assert runs() == []
    client.restore_run(run.info.run_id)
    (scratch / "figure.svg").write_text("<svg/>")
    assert deliver(folder, SETTINGS, {"roles": [scratch / "figure.svg"]}) is None
    assert [f.path for f in client.list_artifacts(run.info.run_id, "roles")] == ["roles/figure.svg"]
    client.delete_run(run.info.run_id)
    assert sync(SETTINGS) == (1, [])
    assert "was deleted" in capsys.readouterr().err


def test_a_run_of_an_experiment_that_was_deleted_says_how_to_go_on(
    scratch: Path,
) -> None:
    run_of(scratch, describe())
    client = store.open_client()
    (first,) = runs()
    client.delete_experiment(first.info.experiment_id)
    folder = scratch / "runs" / "orc-1"
    why = str(finish(track(folder, describe(1)), folder))
    assert "experiment orc/test was deleted there" in why
    assert f"`mlflow experiments restore -x {first.info.experiment_id}` brings it back" in why
    assert why.endswith("frees its name); `orc-repro sync` will")
    client.restore_experiment(first.info.experiment_id)
    assert sync(SETTINGS) == (2, [])
    assert len(runs()) == 2


def test_a_row_that_was_deleted_is_made_again_above_its_seeds(scratch: Path) -> None:
    folder = run_of(scratch, describe())
    (before,) = runs("row")
    store.open_client().delete_run(before.info.run_id)
    (folder / "outcome.json").write_text(
        (folder / "outcome.json").read_text().replace('"ended_ms": 1', '"ended_ms": 2')
    )
    assert sync(SETTINGS) == (1, [])
    (row,) = runs("row")
    assert row.info.run_id != before.info.run_id
    assert [run.data.tags["mlflow.parentRunId"] for run in runs()] == [row.info.run_id]


def test_a_store_that_was_made_anew_gets_everything_again(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (0, 1):
        run_of(scratch, describe(seed))
    again = scratch / "again"  # MLflow keeps the removed file open; so its address changes, too
    shutil.copytree(scratch / "runs", again / "runs")
    for path in again.glob("runs/*/delivered.json"):
        path.write_text(path.read_text().replace(str(scratch), str(again)))
    monkeypatch.setenv("ORC_SCRATCH", str(again))
    assert sync(SETTINGS) == (2, []) == sync(SETTINGS)
    client, found = store.open_client(), runs()
    assert len(found) == 2 and len(runs("row")) == 1
    for run in found:
        assert run.info.status == "FINISHED" and run.data.metrics["cost/seconds"] == 1.5
        assert len(client.get_metric_history(run.info.run_id, "val/top1")) == 2
        kept = client.list_artifacts(run.info.run_id, "notes")
        assert [file.path for file in kept] == ["notes/note.txt"]


def test_six_processes_on_a_fresh_store_all_get_through(scratch: Path) -> None:
    code = "from orc_repro.tracking.store import open_client; open_client()"
    started = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(6)]
    assert [process.wait(timeout=600) for process in started] == [0] * 6
    assert (scratch / "mlflow.db").exists()


def test_parameters_have_the_same_keys_for_every_method() -> None:
    params = load_params(ROOT / "params.yaml")
    made = [
        run_params(
            dataset="digits", group_name="r26-r8", group=params.groups["r26-r8"],
            recipe=params.recipes["digits"], method_name=name, method=method, seed=0,
        )
        for name, method in params.methods.items()
    ]  # fmt: skip
    assert len({tuple(sorted(p)) for p in made}) == 1
    assert len(made[0]) <= 60
    by_method = {p["method"]: p for p in made}
    assert by_method["ce"]["method.temperature"] == "n/a"
    assert by_method["orc"]["method.promotion.top_k"] == "1"
    assert by_method["orc"]["group.students"] == "resnet20, resnet14, resnet8"


def test_results_and_their_reports_make_no_tree_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("reports/runs.csv", "results/default/a.json", "code.py"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text("before")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True, timeout=60)
    Path("reports/runs.csv").write_text("after")
    Path("results/default/a.json").unlink()
    assert git_state()[1] == "false"
    Path("code.py").write_text("after")
    assert git_state()[1] == "true"


def test_git_state_outside_a_repository_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state() == ("unknown", "unknown")
