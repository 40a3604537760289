"""The embedded store's artifacts follow a checkout that was moved or copied."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orc_repro.project import run_folder
from orc_repro.stages.identity import Identity
from orc_repro.stages.sync import sync
from orc_repro.tracking.store import experiment_id, has_answered, open_client
from tests.tracking.made_runs import SETTINGS, identity, make_run, manifest


@pytest.fixture
def who(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Identity:
    """A run that was delivered from a folder named ``old 1``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / "old 1"))
    run = identity(manifest(tmp_path / "data"))
    note = tmp_path / "old 1" / "runs" / run.fingerprint / "artifacts" / "notes" / "note.txt"
    note.parent.mkdir(parents=True)
    note.write_text("kept")
    make_run(run)
    return run


def log_model(client: Any, run: Any, folder: Path) -> None:
    """A registered model that lies beside the run's artifacts."""
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    model = client.create_logged_model(run.info.experiment_id, "net", run.info.run_id)
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.create_registered_model("net")
    client.create_model_version("net", model.artifact_location)


def run_of(client: Any) -> Any:
    experiments = [e.experiment_id for e in client.search_experiments()]
    (run,) = client.search_runs(experiments, "tags.level = 'seed'")
    return run


def text_of(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump())


def test_a_store_that_was_moved_uses_its_new_place(
    who: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_model(open_client(), run_of(open_client()), tmp_path / "model")
    (tmp_path / "old 1").rename(tmp_path / "new")
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / "new"))
    assert has_answered()
    assert sync(SETTINGS) == (1, [])
    client = open_client()
    run = run_of(client)
    assert [file.path for file in client.list_artifacts(run.info.run_id, "notes")]
    place = client.get_model_version_download_uri("net", "1")
    assert place.startswith((tmp_path / "new" / "artifacts").as_uri())
    assert Path(place.removeprefix("file://"), "MLmodel").is_file()
    assert "old%201" not in text_of(tmp_path / "new" / "mlflow.db")
    make_run(identity(who.manifest, seed=1))
    assert not (tmp_path / "old 1").exists()


def test_a_copy_and_its_original_use_their_own_places(
    who: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tmp_path / "old 1", tmp_path / "copy")
    for name in ("copy", "old 1"):
        monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / name))
        client, own = open_client(), (tmp_path / name / "artifacts").as_uri()
        assert run_of(client).info.artifact_uri.startswith(f"{own}/")
        location = client.get_experiment(experiment_id(client, "orc/new")).artifact_location
        assert location == f"{own}/orc-new"


def test_a_run_that_was_deleted_stays_deleted_where_the_store_was_moved(
    who: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client()
    client.delete_run(run_of(client).info.run_id)
    outcome = run_folder(who.fingerprint) / "outcome.json"
    outcome.write_text(outcome.read_text().replace('"ended_ms": ', '"ended_ms": 1'))
    (tmp_path / "old 1").rename(tmp_path / "new")
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / "new"))
    assert sync(SETTINGS) == (1, [])
    client = open_client()
    experiments = [e.experiment_id for e in client.search_experiments()]
    assert not client.search_runs(experiments, "tags.level = 'seed'")


def test_a_store_elsewhere_keeps_its_locations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / "own"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    place = "file:///shared/artifacts/orc-x"
    made = open_client().create_experiment("orc/x", artifact_location=place)
    assert open_client().get_experiment(made).artifact_location == place
