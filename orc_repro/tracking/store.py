"""The MLflow store: where it is, made once, reachable or said so."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from orc_repro.errors import UserError
from orc_repro.files import write_json
from orc_repro.project import scratch

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

ANSWERED = "stores.json"
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


def has_answered(uri: str | None = None) -> bool:
    """Whether a store answered before, in this project on this machine."""
    return shown(uri or store_uri()) in _answered()


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
    lock = scratch() / "mlflow.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if uri.startswith("sqlite:///"):
                _prepare_sqlite(Path(uri.removeprefix("sqlite:///")))
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
            if not has_answered(uri):
                write_json(scratch() / ANSWERED, [*_answered(), shown(uri)])
    except Exception as error:  # SQLAlchemy, requests and MLflow each raise their own kinds
        raise UserError(
            f"the tracking store {shown(uri)} does not answer ({_reason(error)}); start it, or"
            " correct MLFLOW_TRACKING_URI, or set tracking.enabled to false in params.yaml"
        ) from None
    return client


def _prepare_sqlite(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The write-ahead log lets the UI read while training writes.
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    text = re.sub(r".*Caused by (\w+)\(.*?: (.*?)['\")]+$", r"\1: \2", text)
    return shown(text)[:160] or type(error).__name__


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
    location = (scratch() / "artifacts" / name.replace("/", "-")).as_uri() if embedded else None
    return str(client.create_experiment(name, artifact_location=location, tags=KIND))


def whether_active(client: Any, run_id: str) -> bool | None:
    """Whether a run is there and not deleted; None if the store does not know it."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def store_lock() -> FileLock:
    """Held while something is looked up and then created, so that it is created once."""
    return FileLock(scratch() / "mlflow.lock")
