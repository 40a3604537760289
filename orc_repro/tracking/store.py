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

from orc_repro.addresses import reason_of, shown
from orc_repro.deadline import (
    ANSWER_WITHIN_S,
    TRANSFER_WITHIN_S,
    Impatient,
    Unusable,
    within,
)
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
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
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
ANSWERED = "stores.json"
UNKNOWN = "RESOURCE_DOES_NOT_EXIST"  # MLflow's error code
LOCK_WITHIN_S = 120.0  # processes of this machine create a fresh store's tables one by one
_STORES = TypeAdapter(list[str])


def store_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or an SQLite file in the project's own folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or embedded_uri()


def embedded_uri() -> str:
    """The SQLite store in the project's own folder; absolute, as a relative one moves about."""
    return f"sqlite:///{scratch() / 'mlflow.db'}"


def store_name(uri: str) -> str:
    """Return a store's name in this machine's files; the embedded one's outlasts a move."""
    return EMBEDDED if uri == embedded_uri() else shown(uri)


def has_answered(uri: str | None = None) -> bool:
    """Whether a store answered before, in this project on this machine."""
    return store_name(uri or store_uri()) in _answered()


def _answered() -> list[str]:
    try:
        stores = _STORES.validate_json((scratch() / ANSWERED).read_bytes())
    except (OSError, ValidationError):
        return []
    return [shown(store) for store in stores]  # an earlier version hid less


def open_client(uri: str | None = None) -> Any:
    """Return an ``MlflowClient`` on a store that answers; each of its calls has a deadline.

    The tables of a database are created here, under a lock: several processes that create the
    tables of one fresh database at once crash each other.

    Raises:
        Unusable: MLflow cannot be loaded, has no store for this address, or the store does not
            answer in time.
    """
    uri = uri or store_uri()
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:  # before any deadline: loading takes seconds
        import mlflow.tracking.client  # noqa: F401
        from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException
    except ImportError:
        raise Unusable(
            "MLflow is not installed; install it or set tracking.enabled to false"
        ) from None
    except ValueError as error:  # MLflow reads some of its environment variables already here
        raise Unusable(f"MLflow cannot be loaded ({_reason(error, uri)})") from None
    for logger in SILENT:
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    try:
        client = _connect(uri)
        if not has_answered(uri):
            with store_lock():
                write_json(scratch() / ANSWERED, [*_answered(), store_name(uri)])
    except Unusable:
        raise
    except UnsupportedModelRegistryStoreURIException as error:
        schemes = (f"{scheme}:" for scheme in error.supported_uri_schemes if scheme)
        raise Unusable(
            f"MLFLOW_TRACKING_URI is {one_line(shown(uri))}, which MLflow has no store for; it must"
            f" begin with one of {', '.join(schemes)}"
        ) from None
    except Exception as error:  # SQLAlchemy, requests and MLflow each raise their own kinds
        raise _away(uri, _reason(error, uri)) from None
    return client


def _connect(uri: str) -> Any:
    from mlflow.store.db.db_types import DATABASE_ENGINES

    database = uri.partition(":")[0].partition("+")[0]
    if database == "sqlite":  # a file: no network is waited for
        with store_lock():
            _prepare_sqlite(uri)
            if uri == embedded_uri():
                follow_folder(scratch() / "mlflow.db")
            return _ask(uri)
    if database in DATABASE_ENGINES:
        with store_lock():
            client = within(ANSWER_WITHIN_S, lambda: _ask_database(uri))
    else:
        client = within(ANSWER_WITHIN_S, lambda: _ask(uri))
    return Impatient(
        client,
        lambda name: TRANSFER_WITHIN_S if "artifact" in name else ANSWER_WITHIN_S,
        lambda late: _away(uri, str(late)),
    )


def _ask(uri: str) -> Any:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)
    return client


def _ask_database(uri: str) -> Any:
    """Connect once by hand first: MLflow would try ten times and say each time that it failed."""
    from mlflow.store.db.utils import create_sqlalchemy_engine

    engine = create_sqlalchemy_engine(uri)
    engine.connect().close()
    engine.dispose()
    return _ask(uri)


def _prepare_sqlite(uri: str) -> None:
    from sqlalchemy import make_url

    written = uri.partition("///")[2]
    path = make_url(uri).database or ""
    # A query may follow the path of somebody's own address; in ours there is none.
    if path != (written if uri == embedded_uri() else written.partition("?")[0]):
        raise Unusable(
            f"MLflow cannot keep its store at {one_line(written)}: in an address the '?' or '%' of"
            " this path means something else; rename the folder, or let ORC_SCRATCH name one"
            " without these characters"
        )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # The write-ahead log lets the UI read while training writes.
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _away(uri: str, reason: str) -> Unusable:
    if re.search(r"//[^@]*[/?#][^@]*@", uri):
        reason += "; a password with '/', '?' or '#' must have %2F, %3F or %23 there"
    return Unusable(
        f"the tracking store {one_line(shown(uri))} does not answer ({reason}); start it, or"
        " correct MLFLOW_TRACKING_URI, or set tracking.enabled to false in params.yaml"
    )


def _reason(error: Exception, uri: str) -> str:
    """Return what a store said went wrong; of a failed request, why the connection failed."""
    return re.sub(r".*Caused by (\w+)\(.*?: (.*?)['\")]+$", r"\1: \2", reason_of(error, uri))


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
    """Return the lock to hold while something is looked up and then created, to create it once."""
    path = scratch() / "mlflow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, timeout=LOCK_WITHIN_S)
