"""Copying a run's files to MLflow: in batches, from where the last delivery ended, idempotently.

``delivered.json`` in the run folder says, for each store, which MLflow run was made and how many
bytes of each log have arrived. Every point carries the time it was recorded at, and MLflow keeps
one of two equal points, so a batch that is sent twice arrives once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orc_repro.fingerprint import write_json
from orc_repro.tracking.description import Description
from orc_repro.tracking.runlog import read_lines
from orc_repro.tracking.store import experiment_id, shown, store_lock
from orc_repro.validation import Strict, read_json

BATCH = 1000  # MLflow's limit of metrics in a request
NOBODY = -1


class Outcome(Strict):
    """How a run ended; kept in the run folder as ``outcome.json``.

    ``status`` is ``FINISHED``, ``FAILED`` or ``KILLED``, ``reason`` a sentence why, ``figures``
    what the run cost, ``weights_digest`` which weights came out (empty if none).
    """

    status: str
    reason: str
    ended_ms: int
    figures: dict[str, float]
    weights_digest: str


class Delivery:
    """One run folder to one store; blocking. See ``sender.py`` for the thread around it."""

    def __init__(self, client: Any, folder: Path, role_changes: bool = True) -> None:
        self.client, self.folder = client, folder
        self._role_changes = role_changes
        self._path = folder / "delivered.json"
        self._store = shown(str(client.tracking_uri))
        self.description = read_json(Description, folder / "run.json")
        self._all = json.loads(self._path.read_text()) if self._path.exists() else {}
        mine = self._all.get(self._store, {})
        # Another attempt is another MLflow run, and its log begins anew.
        if mine.get("attempt") != self.description.attempt:
            mine = {"attempt": self.description.attempt, "metrics": 0, "roles": 0}
        self._state: dict[str, Any] = mine

    @property
    def run_id(self) -> str:
        """The MLflow run, made at the first call."""
        if "run_id" not in self._state:
            with store_lock():
                self._state |= self._find_or_create()
            self._save()
        return str(self._state["run_id"])

    def reopen(self) -> None:
        """A run that is resumed is running again, whatever it ended with before."""
        if self.client.get_run(self.run_id).info.status != "RUNNING":
            self.client.update_run(self.run_id, status="RUNNING")

    def drain(self) -> None:
        """Send what has been logged since the last time."""
        run_id = self.run_id
        self._send("metrics", self._epoch_points(), run_id)
        if self._role_changes:
            self._send("roles", self._role_points(), run_id)

    def finish(self, outcome: Outcome) -> None:
        """Send the figures, artifacts and status of a run that has ended."""
        from mlflow.entities import Metric

        last = self.description.epochs
        points = [Metric(k, v, outcome.ended_ms, last) for k, v in outcome.figures.items()]
        self.client.log_batch(self.run_id, metrics=points)
        if not self._state.get("artifacts_sent"):
            for path in sorted((self.folder / "artifacts").glob("*/*")):
                self.client.log_artifact(self.run_id, str(path), path.parent.name)
            self._state["artifacts_sent"] = True
            self._save()
        if outcome.reason:
            self.client.set_tag(self.run_id, "status_reason", outcome.reason[:4000])
        self.client.set_terminated(self.run_id, outcome.status, outcome.ended_ms)

    def _find_or_create(self) -> dict[str, str]:
        from mlflow.entities import Param

        about = self.description
        experiment = experiment_id(self.client, about.experiment)
        earlier = self.client.search_runs(
            [experiment], f"tags.fingerprint = '{about.fingerprint}' and tags.level = 'seed'"
        )
        for run in earlier:
            if run.data.tags.get("attempt") == about.attempt:
                return {"run_id": run.info.run_id, "parent_id": run.data.tags["mlflow.parentRunId"]}
            self.client.set_tag(run.info.run_id, "superseded", "true")
        parent = self._parent(experiment)
        tags = about.tags | {
            "mlflow.parentRunId": parent,
            "level": "seed",
            "cell": about.cell,
            "row": about.row,
            "fingerprint": about.fingerprint,
            "attempt": about.attempt,
            "superseded": "false",
        }
        run = self.client.create_run(experiment, run_name=about.run_name, tags=tags)
        params = [Param(key, value) for key, value in about.params.items()]
        self.client.log_batch(run.info.run_id, params=params)
        return {"run_id": run.info.run_id, "parent_id": parent}

    def _parent(self, experiment: str) -> str:
        from mlflow.entities import Param

        about = self.description
        found = self.client.search_runs(
            [experiment], f"tags.row = '{about.row}' and tags.level = 'row'", max_results=1
        )
        if found:
            return str(found[0].info.run_id)
        tags = {"level": "row", "row": about.row} | {
            key: about.tags[key] for key in ("method", "dataset", "group") if key in about.tags
        }
        run = self.client.create_run(experiment, run_name=about.row_name, tags=tags)
        params = [Param(key, value) for key, value in about.params.items() if key != "seed"]
        self.client.log_batch(run.info.run_id, params=params)
        self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def _epoch_points(self) -> Iterator[tuple[int, list[Any]]]:
        from mlflow.entities import Metric

        for end, record in read_lines(self.folder / "metrics.jsonl", self._state["metrics"]):
            when, step = record["time_ms"], record["epoch"]
            yield end, [Metric(key, value, when, step) for key, value in record["values"].items()]

    def _role_points(self) -> Iterator[tuple[int, list[Any]]]:
        from mlflow.entities import Metric

        students = self.description.students
        for end, record in read_lines(self.folder / "roles.jsonl", self._state["roles"]):
            teachers = record["teachers"]
            index = students.index(teachers[0]) if teachers else NOBODY
            yield end, [Metric("role_it/teacher", index, record["time_ms"], record["step"])]

    def _send(self, log: str, points: Iterator[tuple[int, list[Any]]], run_id: str) -> None:
        waiting: list[Any] = []
        position = self._state[log]
        for end, metrics in points:
            if len(waiting) + len(metrics) > BATCH:
                self._send_batch(log, position, waiting, run_id)
                waiting = []
            waiting += metrics
            position = end
        if waiting:
            self._send_batch(log, position, waiting, run_id)

    def _send_batch(self, log: str, position: int, metrics: list[Any], run_id: str) -> None:
        self.client.log_batch(run_id, metrics=metrics)
        self._state[log] = position
        self._save()

    def _save(self) -> None:
        self._all[self._store] = self._state
        write_json(self._path, self._all)

    @property
    def parent_id(self) -> str:
        """The MLflow run of the row."""
        _ = self.run_id
        return str(self._state["parent_id"])
