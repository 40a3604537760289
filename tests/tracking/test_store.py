"""Stores that do not answer, or not in time, and addresses that lead nowhere."""

from __future__ import annotations

import importlib
import json
import socket
import time
from pathlib import Path

import pytest
from filelock import FileLock

from orc_repro.deadline import Unusable
from orc_repro.errors import UserError
from orc_repro.stages.sync import sync
from orc_repro.tracking import store
from orc_repro.tracking.delivery import deliver, read_delivered
from orc_repro.tracking.runlog import RunLog
from orc_repro.tracking.tracker import ask_new_store
from tests.tracking.sick import sick_server
from tests.tracking.test_delivery import SETTINGS, describe, finish, run_of, runs, track

SECRET = "geheim123"
SOON_S = 20.0  # for a machine that others use too


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for module in ("mlflow.tracking.client", "mlflow.store.tracking.sqlalchemy_store"):
        importlib.import_module(module)  # takes longer than a hasty store may
    return tmp_path


def untracked(scratch: Path, seed: int) -> Path:
    """The folder of a run that has ended and was sent nowhere."""
    folder, off = scratch / "runs" / str(seed), SETTINGS.model_copy(update={"enabled": False})
    tracker = track(folder, describe(seed), off)
    RunLog(folder).close()
    finish(tracker, folder)
    return folder


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ANSWER_WITHIN_S", 1.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")


@pytest.mark.parametrize("sickness", ["busy", "slow", "silent"])
def test_a_server_that_answers_tomorrow_is_one_sentence_soon(
    scratch: Path, hasty: None, monkeypatch: pytest.MonkeyPatch, sickness: str
) -> None:
    for seed in range(3):
        untracked(scratch, seed)
    with sick_server(sickness) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address(f"me:{SECRET}@"))
        began = time.monotonic()
        with pytest.raises(Unusable) as caught:
            ask_new_store(SETTINGS)
        assert f"{server.address()} does not answer" in str(caught.value)
        requests = server.requests
        delivered, problems = sync(SETTINGS)
        assert time.monotonic() - began < SOON_S
    assert delivered == 0 and problems == [str(caught.value)]
    assert server.requests == 2 * requests  # asked once, not once a run
    assert SECRET not in str(caught.value)
    with FileLock(scratch / "mlflow.lock", timeout=0):
        pass  # nobody holds it


def test_a_server_that_falls_silent_ends_the_call_under_way(scratch: Path, hasty: None) -> None:
    with sick_server("broken") as server:
        client = store.open_client(server.address())
        server.sickness = "slow"
        with pytest.raises(Unusable, match="takes more than"):
            client.get_experiment_by_name("x")


def test_a_server_that_fails_is_a_sentence_without_its_password(
    scratch: Path, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = untracked(scratch, 0)
    with sick_server("broken") as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address(f"me:{SECRET}@"))
        problem = deliver(folder, SETTINGS)
    assert problem is not None and "500" in problem and SECRET not in problem
    assert all(SECRET not in file.read_text() for file in scratch.rglob("*.json"))


@pytest.mark.parametrize("listens", [True, False])
def test_a_database_that_does_not_answer_is_one_sentence_soon(
    scratch: Path, hasty: None, capfd: pytest.CaptureFixture[str], listens: bool
) -> None:
    pytest.importorskip("psycopg")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not listens:
            server.close()
        began = time.monotonic()
        with pytest.raises(Unusable, match=f"postgresql.psycopg://127.0.0.1:{port}/x does not"):
            store.open_client(f"postgresql+psycopg://me:{SECRET}@127.0.0.1:{port}/x")
        assert time.monotonic() - began < SOON_S
    assert capfd.readouterr().err == ""


def test_a_lock_that_another_process_holds_is_not_waited_for_without_end(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOCK_WITHIN_S", 0.2)
    with FileLock(scratch / "mlflow.lock"), pytest.raises(Unusable, match=r"mlflow\.lock"):
        store.open_client()


@pytest.mark.parametrize("name", ["pro?ject", "pro%41ject", "a%3Fb"])
def test_a_path_that_mlflow_would_take_for_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / name))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="rename the folder"):
        store.open_client()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_path_with_other_characters_holds_the_store_and_the_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a b&c;d=e #100% me@größe"
    (tmp_path / name).mkdir()
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / name))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run_of(tmp_path / name, describe())
    (run,) = runs()
    client = store.open_client()
    assert [f.path for f in client.list_artifacts(run.info.run_id, "notes")] == ["notes/note.txt"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_somebodys_own_sqlite_store_may_have_parameters(scratch: Path) -> None:
    store.open_client(f"sqlite:///{scratch / 'own.db'}?timeout=5")
    assert (scratch / "own.db").exists() and not list(scratch.glob("*[?]*"))


@pytest.mark.parametrize("address", ["foo://bar", "localhost:5000", f"ftp://me:{SECRET}@host"])
def test_an_address_of_an_unknown_scheme_names_the_variable_and_the_schemes(
    scratch: Path, address: str
) -> None:
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI is .* begin with .*http:") as caught:
        store.open_client(address)
    assert SECRET not in str(caught.value)


def test_a_password_that_must_be_quoted_is_explained(scratch: Path) -> None:
    with pytest.raises(Unusable, match="must have %2F") as caught:
        store.open_client(f"http://me:{SECRET}/x@127.0.0.1:9")
    assert SECRET not in str(caught.value)


def test_what_an_earlier_version_did_not_hide_is_hidden(scratch: Path) -> None:
    folder = untracked(scratch, 0)
    address = f"http://host/?token={SECRET}"
    (folder / "delivered.json").write_text(json.dumps({address: {"attempt": "first"}}))
    (scratch / "stores.json").write_text(json.dumps([address]))
    assert list(read_delivered(folder)) == ["http://host/?token=***"]
    assert store.has_answered(address)
