"""What becomes of trials whose worker is gone."""

from __future__ import annotations

import itertools
import os
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.study import Study
from optuna.trial import TrialState

from orc_repro import process_identity
from orc_repro.errors import UserError
from orc_repro.search import storage
from orc_repro.search.declaration import Search
from orc_repro.search.space import Values, suggest
from orc_repro.search.storage import (
    ADDRESS,
    RETRY_OF,
    RUN,
    WORKER,
    heartbeating,
    open_study,
    retry,
    sign,
    sweep,
    take_slot,
)
from orc_repro.search.work import sampler_for
from tests.search.files import content

SEARCH = Search.model_validate(content())


def begin(study: Study, parameters: int | None = None) -> tuple[optuna.Trial, Values]:
    """A worker's trial, as far as so many parameters drawn."""
    trial = study.ask()
    study.sampler = sampler_for(SEARCH, take_slot(study, trial))
    space = dict(itertools.islice(SEARCH.space.items(), parameters))
    return trial, suggest(trial, SEARCH.model_copy(update={"space": space}))


def complete(study: Study) -> Values:
    trial, values = begin(study)
    trial.set_user_attr(f"{RUN}0", "a run")
    study.tell(trial, values["method.temperature"])
    return values


@pytest.fixture
def undisturbed() -> list[Values]:
    study = optuna.create_study(direction="maximize")
    return [complete(study) for _ in range(8)]


@pytest.mark.parametrize("drawn", [0, 1, 3, None])
def test_a_trial_lost_while_values_are_drawn_is_drawn_again(
    undisturbed: list[Values], drawn: int | None
) -> None:
    study, found = optuna.create_study(direction="maximize"), []
    for _ in range(8):
        begin(study, drawn)
        assert sweep(study)  # nobody signed it
        found.append(complete(study))
    assert found == undisturbed
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE] * 8


def test_a_trial_lost_twice_after_it_began_keeps_its_values(undisturbed: list[Values]) -> None:
    study = optuna.create_study(direction="maximize")
    found = [complete(study) for _ in range(3)]
    for _ in range(2):
        trial, _ = begin(study)
        trial.set_user_attr(f"{RUN}0", "a run")
        sweep(study)
    found += [complete(study) for _ in range(5)]
    assert found == undisturbed
    assert [t.user_attrs.get(RETRY_OF) for t in study.trials[3:6]] == [None, 3, 4]


def test_a_trial_lost_before_it_has_a_slot_leaves_it_to_the_next(
    undisturbed: list[Values],
) -> None:
    study = optuna.create_study(direction="maximize")
    study.ask()
    assert sweep(study) == [0]
    assert [complete(study) for _ in range(8)] == undisturbed
    assert not any(RETRY_OF in t.user_attrs for t in study.trials)


def test_two_that_took_one_slot_at_the_same_moment_part() -> None:
    study = optuna.create_study(direction="maximize")
    first, second = study.ask(), study.ask()
    first.set_user_attr("slot", 0)
    second.set_user_attr("slot", 0)
    assert (take_slot(study, second), take_slot(study, first)) == (1, 0)


def test_values_that_params_yaml_has_are_tried_first_however_often_they_are_lost() -> None:
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({"method.temperature": 4.5}, user_attrs={"slot": 0})
    for _ in range(2):
        begin(study, 1)
        sweep(study)
    assert complete(study)["method.temperature"] == 4.5


def test_the_slot_of_a_trial_that_failed_is_free_and_that_of_one_waiting_is_not() -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(3):
        complete(study)
    failed, _ = begin(study)
    study.tell(failed, state=TrialState.FAIL)
    trial, _ = begin(study)
    assert trial.user_attrs["slot"] == 3
    study.tell(trial, state=TrialState.FAIL)
    retry(study, study.trials[-1])
    assert study.trials[-1].state == TrialState.WAITING
    assert take_slot(study, optuna.Trial(study, study._storage.create_new_trial(0))) == 4


def test_a_worker_is_there_whatever_the_clock_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    study, created = optuna.create_study(), psutil.Process().create_time()
    sign(study.ask())
    for shift in (-3600.0, 0.01, 3600.0):
        with monkeypatch.context() as set_clock:
            # What psutil says of a process depends on the time of day that the machine began at.
            set_clock.setattr(psutil.Process, "create_time", lambda _, by=shift: created + by)
            assert sweep(study) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_another_process_with_the_number_of_a_worker_is_not_that_worker() -> None:
    study = optuna.create_study()
    trial = study.ask()
    sign(trial)
    host, pid, began = study.trials[0].user_attrs[WORKER]
    trial.set_user_attr(WORKER, [host, pid, f"{began}0"])
    assert sweep(study) == [0]


@pytest.mark.parametrize(("off", "gone"), [(1.0, False), (60.0, True)])
def test_where_only_the_time_of_day_is_known_a_clock_may_be_a_little_off(
    off: float, gone: bool
) -> None:
    study = optuna.create_study()
    began = psutil.Process().create_time() + off
    study.ask().set_user_attr(WORKER, [socket.gethostname(), os.getpid(), began])
    assert bool(sweep(study)) is gone


@pytest.mark.parametrize("known_by", ["boot", "time of day"])
def test_a_worker_that_has_ended_and_whose_parent_has_not_asked_is_gone(
    known_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if known_by == "time of day":
        monkeypatch.setattr(process_identity, "_since_boot", lambda _: None)
    study = optuna.create_study()
    with subprocess.Popen(["sleep", "600"]) as worker:
        monkeypatch.setattr(os, "getpid", lambda: worker.pid)
        sign(study.ask())
        assert sweep(study) == []
        worker.kill()
        until = time.monotonic() + 60
        while psutil.Process(worker.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until
        assert sweep(study) == [0]


def test_whoever_waits_notices_that_a_worker_elsewhere_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody begins a trial where the last ones are under way."""
    monkeypatch.setenv(ADDRESS, f"sqlite:///{tmp_path / 'search.db'}")
    monkeypatch.setattr(storage, "HEARTBEAT_S", 1)
    monkeypatch.setattr(storage, "GRACE_S", 1)
    kept = heartbeating(os.environ[ADDRESS])
    study = optuna.create_study(storage=kept)
    trial, _ = begin(study)
    trial.set_user_attr(WORKER, ["another machine", 1, "then"])
    trial.set_user_attr(f"{RUN}0", "a run")
    kept.record_heartbeat(trial._trial_id)
    assert sweep(study) == [] and study.trials[0].state == TrialState.RUNNING
    until = time.monotonic() + 60
    while study.trials[0].state == TrialState.RUNNING:
        assert time.monotonic() < until
        time.sleep(0.2)
        sweep(study)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[1].user_attrs[RETRY_OF] == 0


def test_a_database_that_does_not_answer_is_one_sentence_soon(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path))
    monkeypatch.setattr(storage, "ANSWER_WITHIN_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, began = server.getsockname()[1], time.monotonic()
        monkeypatch.setenv(ADDRESS, f"postgresql+psycopg://me:geheim@127.0.0.1:{port}/x")
        with pytest.raises(UserError, match=rf"{ADDRESS} names cannot be used \(it takes"):
            open_study(SEARCH, "x", {}, {})
        server.close()
        with pytest.raises(UserError, match="refused") as caught:
            open_study(SEARCH, "x", {}, {})
    assert "geheim" not in str(caught.value) and time.monotonic() - began < 20


def test_a_database_that_falls_silent_ends_the_call_and_not_the_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS, f"sqlite:///{tmp_path / 'search.db'}")
    kept = heartbeating(os.environ[ADDRESS])
    study = optuna.create_study(storage=kept)
    trial = study.ask()
    monkeypatch.setattr(storage, "ANSWER_WITHIN_S", 0.5)
    with closing(sqlite3.connect(tmp_path / "search.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match="takes more than"):
            trial.set_user_attr("a", 1)
        kept.record_heartbeat(trial._trial_id)
    trial.set_user_attr("b", 2)
    assert study.trials[0].user_attrs["b"] == 2


def test_what_optuna_handles_itself_reaches_it(tmp_path: Path) -> None:
    kept = heartbeating(f"sqlite:///{tmp_path / 'search.db'}")
    optuna.create_study(storage=kept, study_name="one")
    again = optuna.create_study(storage=kept, study_name="one", load_if_exists=True)
    again.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert len(again.trials) == 2
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        optuna.create_study(storage=kept, study_name="one")
    with pytest.raises(KeyError):
        optuna.load_study(storage=kept, study_name="two")
