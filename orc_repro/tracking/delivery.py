"""Copying a run's files to MLflow: in batches, from where the last delivery ended, idempotently.

``delivered.json`` in the run folder says, for each store, which MLflow run was made and how many
bytes of each log have arrived. Every point carries the time it was recorded at, and MLflow keeps
one of two equal points, so a batch that is sent twice arrives once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from orc_repro.addresses import reason_of, shown
from orc_repro.config import Tracking
from orc_repro.deadline import Unusable
from orc_repro.errors import UserError, say
from orc_repro.files import read_file, write_json
from orc_repro.fingerprint import file_digest
from orc_repro.ranges import Count, Milliseconds
from orc_repro.tracking.description import Description
from orc_repro.tracking.entries import find_or_create, row_run
from orc_repro.tracking.keys import wanted_keys
from orc_repro.tracking.outcome import Outcome, read_outcome
from orc_repro.tracking.records import best_teacher, metrics_log, roles_log
from orc_repro.tracking.runlog import ARTIFACTS, commit_all
from orc_repro.tracking.store import (
    open_client,
    store_lock,
    store_name,
    store_uri,
    whether_active,
)
from orc_repro.validation import Strict, read_json

BATCH = 1000  # MLflow's limit of metrics in a request
NOBODY = -1


class Removed(Exception):
    """A person deleted the run in the store; it is not made again."""


class Delivered(Strict):
    """What of an attempt has arrived in one store: bytes of each log, and the rest once it ended.

    ``ended_ms`` is that of the outcome that was delivered, 0 as long as none was; ``finals`` a hash
    of the end figures and notes that were; ``shown`` the SHA-256 of each file that was drawn
    afterwards, by its artifact's path; ``removed`` whether the run was deleted there when it was
    last looked up.
    """

    attempt: str
    run_id: str = ""
    parent_id: str = ""
    metrics: Count = 0
    roles: Count = 0
    artifacts_sent: bool = False
    ended_ms: Milliseconds = 0
    finals: str = ""
    shown: dict[str, str] = Field(default_factory=dict)
    removed: bool = False


_BY_STORE = TypeAdapter(dict[str, Delivered])


def read_delivered(folder: Path) -> dict[str, Delivered]:
    """What has arrived where; a damaged file counts as nothing, as sending twice is harmless."""
    try:
        stores = _BY_STORE.validate_json(read_file(folder / "delivered.json"))
    except (OSError, ValidationError):
        return {}
    return {shown(store): state for store, state in stores.items()}  # once less was hidden


class Delivery:
    """One run folder to one store; blocking. See ``sender.py`` for the thread around it."""

    def __init__(self, client: Any, folder: Path, settings: Tracking) -> None:
        self.client, self.folder = client, folder
        self._role_changes = settings.role_changes == "all"
        self._watched = settings.system_metrics_every_seconds is not None
        self._store, self._name = shown(client.tracking_uri), store_name(client.tracking_uri)
        self.description = read_json(Description, folder / "run.json")
        attempt = self.description.attempt
        before = read_delivered(folder)
        self._state = before.get(self._name, before.get(self._store, Delivered(attempt=attempt)))
        # Another attempt is another MLflow run, and its log begins anew.
        if self._state.attempt != attempt:
            self._state = Delivered(attempt=attempt)
        self._looked_up: set[str] = set()

    @property
    def run_id(self) -> str:
        """The MLflow run, looked up or made at the first call.

        Raises:
            Removed: a person deleted it.
        """
        if self._state.run_id and self._state.run_id not in self._looked_up:
            self._look_up()
        if not self._state.run_id:
            with store_lock():
                run_id, parent_id = find_or_create(self.client, self.description)
            self._save(run_id=run_id, parent_id=parent_id)
            self._looked_up |= {run_id, parent_id}
        return self._state.run_id

    def _look_up(self) -> None:
        active = whether_active(self.client, self._state.run_id)
        if active is None:  # another store than it was: everything is sent again
            self._state = Delivered(attempt=self._state.attempt)
            return
        removed = not active
        if removed and not self._state.removed:
            what = f"the run of {self.description.cell} was deleted in {self._store}"
            say("note", f"{what}; nothing more is sent, unless it is restored")
        if removed is not self._state.removed:
            self._save(removed=removed)
        if removed:
            raise Removed
        self._looked_up.add(self._state.run_id)

    def reopen(self) -> None:
        """A run that is resumed is running again, whatever it ended with before."""
        if self.client.get_run(self.run_id).info.status != "RUNNING":
            self.client.update_run(self.run_id, status="RUNNING")
            self.tag(self.run_id, {"status": "running", "status_reason": ""})

    def drain(self) -> None:
        """Send what has been logged since the last time."""
        run_id = self.run_id
        self._send("metrics", self._epoch_points(), run_id)
        if self._role_changes:
            self._send("roles", self._role_points(), run_id)

    def has(self, outcome: Outcome, finals: str) -> bool:
        """Whether all of a run that has ended arrived before; ``finals``: their hash."""
        _ = self.run_id  # is there, or nothing of it is
        return (self._state.ended_ms, self._state.finals) == (outcome.ended_ms, finals)

    def finish(self, outcome: Outcome, finals: str) -> None:
        """Send the figures, artifacts and status of a run that has ended; its finals are there."""
        if outcome.status == "FINISHED":  # any other end is one that can be resumed
            self._send_figures_and_artifacts(outcome)
        status = outcome.status.lower()
        self.tag(self.run_id, {"status": status, "status_reason": outcome.reason[:4000]})
        self.client.set_terminated(self.run_id, outcome.status, outcome.ended_ms)
        self._save(ended_ms=outcome.ended_ms, finals=finals)

    def _send_figures_and_artifacts(self, outcome: Outcome) -> None:
        from mlflow.entities import Metric

        last = self.description.epochs
        points = [Metric(k, v, outcome.ended_ms, last) for k, v in outcome.figures.items()]
        self.client.log_batch(self.run_id, metrics=points)
        if not self._state.artifacts_sent:
            for path in sorted((self.folder / ARTIFACTS).glob("*/*")):
                self.client.log_artifact(self.run_id, str(path), path.parent.name)
            self._save(artifacts_sent=True)

    def show(self, drawn: Mapping[str, Sequence[Path]]) -> None:
        """Send files that were drawn of a run, by the artifact folder they go to; each once."""
        for folder, paths in drawn.items():
            for path in paths:
                name, content = f"{folder}/{path.name}", file_digest(path)
                if self._state.shown.get(name) != content:
                    self.client.log_artifact(self.run_id, str(path), folder)
                    self._save(shown=self._state.shown | {name: content})

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, in one request."""
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _epoch_points(self) -> Iterator[tuple[int, list[Any]]]:
        from mlflow.entities import Metric

        networks = len(self.description.students) + 1  # the pivot
        for end, record in metrics_log(self.folder).committed(self._state.metrics):
            when, step = record.time_ms, record.epoch
            wanted = wanted_keys(record.values, networks, self._watched)
            values = {key: value for key, value in record.values.items() if key in wanted}
            yield end, [Metric(key, value, when, step) for key, value in values.items()]

    def _role_points(self) -> Iterator[tuple[int, list[Any]]]:
        from mlflow.entities import Metric

        students = self.description.students
        for end, record in roles_log(self.folder).committed(self._state.roles):
            if not set(record.teachers) <= set(students):
                raise UserError(f"{self.folder}: the log of role changes is of another group")
            best = best_teacher(record)
            index = NOBODY if best is None else students.index(best)
            yield end, [Metric("role_it/teacher", index, record.time_ms, record.step)]

    def _send(self, log: str, points: Iterator[tuple[int, list[Any]]], run_id: str) -> None:
        waiting: list[Any] = []
        position: int = getattr(self._state, log)
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
        self._save(**{log: position})

    def _save(self, **changes: Any) -> None:
        self._state = self._state.model_copy(update=changes)
        everywhere = read_delivered(self.folder) | {self._name: self._state}
        content = {store: state.model_dump() for store, state in everywhere.items()}
        write_json(self.folder / "delivered.json", content)

    @property
    def parent_id(self) -> str:
        """The MLflow run of the row; made again if it was deleted, as its seeds are below it."""
        run_id, parent_id = self.run_id, self._state.parent_id
        if parent_id not in self._looked_up and not whether_active(self.client, parent_id):
            experiment = self.client.get_run(run_id).info.experiment_id
            with store_lock():
                parent_id = row_run(self.client, self.description, experiment)
            self.client.set_tag(run_id, "mlflow.parentRunId", parent_id)
            self._save(parent_id=parent_id)
        self._looked_up.add(parent_id)
        return parent_id


def deliver(
    folder: Path, settings: Tracking, drawn: Mapping[str, Sequence[Path]] | None = None
) -> str | None:
    """Bring MLflow up to what a run folder and the results hold, and show what was ``drawn`` of it,
    by the artifact folder that goes to. What has arrived is not sent again, and sending twice
    changes nothing. A run that a person deleted there is settled.

    Returns:
        None, or a sentence saying why it could not be done.

    Raises:
        Unusable: the store would take no other run either.
    """
    try:
        ended = read_outcome(folder)
        delivery = Delivery(open_client(), folder, settings)
        if ended is None:
            delivery.drain()
            return None
        from orc_repro.tracking.finals import finals_of, send_finals  # here: loads scipy

        finals = finals_of(delivery.description, ended)
        if not delivery.has(ended, finals.digest):
            if ended.status == "FINISHED":
                commit_all(folder)
            delivery.drain()
            send_finals(delivery, finals, ended)
            delivery.finish(ended, finals.digest)
        delivery.show(drawn or {})
    except Removed:
        return None
    except Unusable:
        raise
    except Exception as error:  # a store may raise anything; the run's files are safe
        return undelivered(folder, reason_of(error))
    return None


def undelivered(folder: Path, reason: str) -> str:
    """Say of a run that the store does not have it, and what will send it."""
    store = shown(store_uri())
    return f"{folder.name} is not delivered to {store} ({reason}); `orc-repro sync` will"
