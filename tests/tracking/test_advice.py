"""What a store that cannot be used says: MLflow's own advice, whole, and no traceback."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orc_repro.errors import UserError
from orc_repro.project import run_folder
from orc_repro.tracking.delivery import deliver
from orc_repro.tracking.store import open_client
from tests.tracking.made_runs import SETTINGS, identity, make_run, manifest


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path))
    return tmp_path / "mlflow.db"


def execute(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def test_advice_about_a_store_of_files_is_whole(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (database.parent / "mlruns").as_uri())
    with pytest.raises(UserError) as caught:
        open_client()
    for advice in ("mlflow migrate-filestore", "sqlite:///mlflow.db", "MLFLOW_ALLOW_FILE_STORE"):
        assert advice in str(caught.value)


def test_advice_about_an_old_schema_is_whole(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = identity(manifest(database.parent / "data"))
    make_run(who)
    again = database.parent / "again"  # MLflow looks at the schema of an address once a process
    shutil.copytree(database.parent / "runs", again / "runs")
    shutil.copyfile(database, again / "mlflow.db")
    monkeypatch.setenv("ORC_SCRATCH", str(again))
    database = again / "mlflow.db"
    execute(database, "UPDATE alembic_version SET version_num = 'acf3f17fdcc7'")
    with pytest.raises(UserError, match="mlflow db upgrade") as caught:
        open_client()
    assert str(database) in str(caught.value)
    with pytest.raises(UserError, match="mlflow db upgrade"):
        deliver(run_folder(who.fingerprint), SETTINGS)


def test_a_database_error_is_a_sentence_without_traceback_or_statement(
    database: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = identity(manifest(database.parent / "data"))
    make_run(first)
    folder = run_folder(first.fingerprint)
    (folder / "delivered.json").unlink()
    execute(database, "ALTER TABLE metrics RENAME TO elsewhere")
    problem = str(deliver(folder, SETTINGS))
    assert "no such table" in problem and "orc-repro sync" in problem
    assert "\n" not in problem and "INSERT" not in problem
    assert capfd.readouterr().err == ""
