"""A run is found in a store that others use, too."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from orc_repro.errors import UserError
from orc_repro.stages.register import _run_of
from orc_repro.tracking.store import open_client
from tests.tracking.made_runs import identity, make_run, manifest, write_result

OTHERS = 1100  # MLflow returns 1,000 experiments a page, the newest first


def add_experiments(database: Path) -> None:
    now = int(time.time() * 1000)
    rows = [
        (f"other-{i}", f"/other/{i}", "active", now + i, now + i, "default") for i in range(OTHERS)
    ]
    with closing(sqlite3.connect(database)) as connection, connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(experiments)")]
        names = ["name", "artifact_location", "lifecycle_stage", "creation_time"]
        names += ["last_update_time", *(["workspace"] if "workspace" in columns else [])]
        marks = ", ".join("?" * len(names))
        connection.executemany(
            f"INSERT INTO experiments ({', '.join(names)}) VALUES ({marks})",
            [row[: len(names)] for row in rows],
        )


def test_a_run_is_found_behind_more_experiments_than_a_page_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    who, absent = (identity(manifest(tmp_path / "data"), seed=seed) for seed in (0, 1))
    make_run(who)
    add_experiments(tmp_path / "mlflow.db")
    client = open_client()
    result, missing = write_result(who, 70.0), write_result(absent, 70.0)
    assert _run_of(client, result).data.tags["cell"] == who.key
    with pytest.raises(UserError, match="is not in"):
        _run_of(client, missing)
