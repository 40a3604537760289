"""The MLflow store: where it is, made once, reachable or said so."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from orc_repro.errors import UserError, one_line
from orc_repro.files import write_json
from orc_repro.project import scratch
from orc_repro.tracking.locations import follow_folder, location_of

# Read by MLflow when it is imported; a user's own setting wins. No telemetry, nothing cut short
# silently, a server that does not answer is reported in seconds instead of four minutes, and the
# UI starts without seven processes for jobs that nobody gives it.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}

# The UI opens on runs and their curves, not on traces of conversations.
KIND = {"mlflow.experimentKind": "custom_model_development"}

# MLflow prints the traceback of what it raises besides, and what its monitor could not send.
SILENT = ("mlflow.store.db.utils", "mlflow.system_metrics")

EMBEDDED = "sqlite:///<embedded>/mlflow.db"
LONGEST_REASON = 2000  # MLflow's advice comes last, and takes 600 characters
ANSWERED = "stores.json"
UNKNOWN = "RESOURCE_DOES_NOT_EXIST"  # MLflow's error code
_STORES = TypeAdapter(list[str])


def store_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or an SQLite file in the project's own folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or embedded_uri()


def embedded_uri() -> str:
    """The SQLite store in the project's own folder; absolute, as a relative one moves about."""
    return f"sqlite:///{scratch() / 'mlflow.db'}"


def shown(uri: str) -> str:
    """A URI without user name and password."""
    return re.sub(r"//[^@/]*@", "//", uri)


def store_name(uri: str) -> str:
    """Return a store's name in this machine's files; the embedded one's outlasts a move."""
    return EMBEDDED if uri == embedded_uri() else shown(uri)


def has_answered(uri: str | None = None) -> bool:
    """Whether a store answered before, in this project on this machine."""
    return store_name(uri or store_uri()) in _answered()


def _answered() -> list[str]:
    try:
        return _STORES.validate_json((scratch() / ANSWERED).read_bytes())
    except (OSError, ValidationError):
        return []


def open_client(uri: str | None = None) -> Any:
    """An ``MlflowClient`` on a store that answers.

    An embedded store is created here, under a lock: several processes that create the tables of
    one fresh database at once crash each other.

    Raises:
        UserError: MLflow is not installed, or the store does not answer.
    """
    uri = uri or store_uri()
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise UserError(
            "MLflow is not installed; install it or set tracking.enabled to false"
        ) from None
    for logger in SILENT:
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    lock = scratch() / "mlflow.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if uri.startswith("sqlite:///"):
                _prepare_sqlite(Path(uri.removeprefix("sqlite:///")))
            if uri == embedded_uri():
                follow_folder(scratch() / "mlflow.db")
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
            if not has_answered(uri):
                write_json(scratch() / ANSWERED, [*_answered(), store_name(uri)])
    except Exception as error:  # SQLAlchemy, requests and MLflow each raise their own kinds
        raise UserError(
            f"the tracking store {shown(uri)} does not answer ({reason(error)}); start it, or"
            " correct MLFLOW_TRACKING_URI, or set tracking.enabled to false in params.yaml"
        ) from None
    return client


def _prepare_sqlite(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The write-ahead log lets the UI read while training writes.
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def reason(error: Exception) -> str:
    """Return what a store said went wrong, on one line, whole but for its SQL statement."""
    text = re.split(r" \[SQL: | \(Background on ", " ".join(str(error).split()), maxsplit=1)[0]
    text = re.sub(r".*Caused by (\w+)\(.*?: (.*?)['\")]+$", r"\1: \2", text)
    return one_line(shown(text), LONGEST_REASON) or type(error).__name__


def experiment_id(client: Any, name: str) -> str:
    """Find or create an experiment; call under :func:`store_lock`.

    Raises:
        UserError: a person deleted it; its name is taken for as long as it can be restored.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        found = str(experiment.experiment_id)
        if experiment.lifecycle_stage == "active":
            return found
        raise UserError(
            f"experiment {name} was deleted there; `mlflow experiments restore -x {found}` brings"
            f" it back, `mlflow gc --experiment-ids {found}` frees its name"
        )
    # A server keeps artifacts where it was told to; the embedded store beside its database.
    embedded = client.tracking_uri == embedded_uri()
    location = location_of(name) if embedded else None
    return str(client.create_experiment(name, artifact_location=location, tags=KIND))


def whether_active(client: Any, run_id: str) -> bool | None:
    """Whether a run is there and not deleted; None if the store does not know it."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == UNKNOWN:
            return None
        raise


def store_lock() -> FileLock:
    """Held while something is looked up and then created, so that it is created once."""
    return FileLock(scratch() / "mlflow.lock")
