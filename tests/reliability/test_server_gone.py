"""An MLflow server that dies in the middle of a run costs neither the run nor a point."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orc_repro.tracking.records import metrics_log, role_table
from tests.mlflow_server import Server
from tests.project import command
from tests.reliability.machine import cell_of, make_project, run_folder, start, wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    server.start()
    yield server
    server.kill()


def longer(tmp_path: Path) -> Path:
    project = make_project(tmp_path / "project", checkpoints={"every_seconds": 0.2})
    params = project / "params.yaml"
    text = params.read_text()
    assert "epochs: 3\n" in text
    params.write_text(
        text.replace("epochs: 3\n", "epochs: 14\n").replace("enabled: false", "enabled: true")
    )
    return project


def points_of(server: Server, cell: str) -> tuple[str, dict[str, list[tuple[int, float]]]]:
    """A run's status in MLflow, and every point of every metric."""
    from mlflow import MlflowClient

    client: Any = MlflowClient(tracking_uri=server.address)
    ids = [e.experiment_id for e in client.search_experiments()]
    (run,) = client.search_runs(ids, f"tags.cell = '{cell}'")
    points = {
        key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
    }
    return run.info.status, points


def assert_complete(server: Server, project: Path, cell: str) -> None:
    folder = run_folder(project, cell)
    status, points = points_of(server, cell)
    assert status == "FINISHED"
    epochs = metrics_log(folder).all()
    assert len(epochs) == 14
    for key in epochs[0].values:
        assert points[key] == [(record.epoch, record.values[key]) for record in epochs], key
    changes = role_table(folder, ("resnet8.a", "resnet8"))
    assert [step for step, _ in points.get("role_it/teacher", [])] == changes["step"].tolist()


def test_a_server_that_dies_and_comes_back_has_every_point_once(
    server: Server, tmp_path: Path
) -> None:
    project, cell = longer(tmp_path), cell_of("orc")
    process = start(project, "train", cell, MLFLOW_TRACKING_URI=server.address)

    def epochs() -> int:
        try:
            return len(metrics_log(run_folder(project, cell)).all())
        except ValueError:  # it has not begun
            return 0

    def arrived() -> bool:
        folder = project / ".orc/runs"
        return any('"metrics": 0' not in p.read_text() for p in folder.glob("*/delivered.json"))

    assert wait_until(arrived, process)
    server.kill()
    before = epochs()
    assert wait_until(lambda: epochs() >= before + 2, process)  # training does not wait for it
    process.send_signal(signal.SIGSTOP)  # however long a server takes, there are epochs left
    server.start()
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "warning" not in said
    assert_complete(server, project, cell)


def test_a_server_that_stays_away_gets_everything_from_sync(server: Server, tmp_path: Path) -> None:
    project, cell = longer(tmp_path), cell_of("kd")
    process = start(project, "train", cell, MLFLOW_TRACKING_URI=server.address)
    assert wait_until(lambda: any((project / ".orc/runs").glob("*/delivered.json")), process)
    server.kill()
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "is not delivered to" in said and "`orc-repro sync` will" in said
    finished = command(project, "orc_repro", "train", cell, check=False)  # and is not lost
    assert finished.returncode == 0 and "is trained already" in finished.stdout

    server.start()
    for _ in range(2):
        synced = start(project, "sync", MLFLOW_TRACKING_URI=server.address)
        said, _ = synced.communicate(timeout=300)
        assert synced.returncode == 0, said
        assert_complete(server, project, cell)
