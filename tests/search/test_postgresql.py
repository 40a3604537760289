"""A search whose workers share a PostgreSQL server, which MLflow's server uses too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from benchmarks import postgres
from orc_repro.search.storage import RUN
from tests.mlflow_server import Server
from tests.project import command, copy_project, environment
from tests.search.files import content, shrink

FILE, NAME = "studies/search/small.yaml", "small-v1"

pytestmark = pytest.mark.skipif(
    not postgres.is_available(), reason="needs PostgreSQL's server and psycopg"
)


def until(found: Callable[[], int | None], seconds: float = 600) -> int:
    end = time.monotonic() + seconds
    while (value := found()) is None:
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)
    return value


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server of our own, without the name of a database."""
    with postgres.server(["search", "mlflow"]) as address:
        yield address


def test_four_workers_one_killed_and_every_trial_is_accounted_for(
    server: str, tmp_path: Path
) -> None:
    project = copy_project(tmp_path / "project", shrink, {"groups": ["small"], "seeds": [0]})
    for words in (["plan"], ["prepare", "digits"], ["pretrain", "digits-resnet14-digits-s0"]):
        command(project, "orc_repro", *words)
    (project / FILE).parent.mkdir(parents=True)
    (project / FILE).write_text(yaml.safe_dump(content(trials=8)))
    with ExitStack() as stack:
        mlflow = Server(tmp_path / "mlflow", f"{server}/mlflow")
        stack.callback(mlflow.stop)
        mlflow.start()
        searching = subprocess.Popen(
            [sys.executable, "-m", "orc_repro", "search", FILE, "--workers", "4"],
            cwd=project,
            env=environment(project) | {
                "ORC_SEARCH_STORAGE": f"{server}/search",
                "MLFLOW_TRACKING_URI": mlflow.address,
            },
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        os.kill(until(lambda: newest_of_four(server)), signal.SIGKILL)
        said, problems = searching.communicate(timeout=900)
        assert searching.returncode == 0, problems
        assert "1 of 4 workers failed" in problems and "was lost with its worker" in said
        study = optuna.load_study(study_name=NAME, storage=f"{server}/search")
        states = [trial.state for trial in study.trials]
        assert states.count(TrialState.FAIL) == 1 and len(states) == 9
        ended = [s for s in states if s in (TrialState.COMPLETE, TrialState.PRUNED)]
        assert len(ended) == 8
        (lost,) = (t for t in study.trials if t.state == TrialState.FAIL)
        (again,) = (t for t in study.trials if t.user_attrs.get("retry_of") == lost.number)
        assert again.params == lost.params

        from orc_repro.tracking.store import open_client

        client = open_client(mlflow.address)
        experiment = client.get_experiment_by_name(f"orc/search/{NAME}").experiment_id
        runs = client.search_runs([experiment], "tags.trial_state != ''")
        assert len(runs) == 8
        assert {run.data.tags["trial_state"] for run in runs} <= {"complete", "pruned"}


def newest_of_four(server: str) -> int | None:
    """Of four processes at work on a trial's run the one that has most of it left; else None."""
    try:
        study = optuna.load_study(study_name=NAME, storage=f"{server}/search")
    except KeyError:
        return None
    at_work = [
        t for t in study.trials if t.state == TrialState.RUNNING and f"{RUN}0" in t.user_attrs
    ]
    newest = min(at_work, key=lambda t: (len(t.intermediate_values), -t.number), default=None)
    if newest is None or len({t.user_attrs["worker"][1] for t in at_work}) < 4:
        return None
    pid: int = newest.user_attrs["worker"][1]
    return pid
