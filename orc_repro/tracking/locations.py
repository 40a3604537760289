"""Artifact locations of the embedded store: MLflow records absolute addresses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from orc_repro.project import scratch

ARTIFACTS = "artifacts"


def location_of(experiment: str) -> str:
    """Return the address of an experiment's artifacts in this machine's own folder."""
    return (scratch() / ARTIFACTS / experiment.replace("/", "-")).as_uri()


def follow_folder(database: Path) -> None:
    """Make the recorded locations follow a folder that was moved or copied.

    Every text column that holds a location below the former folder is rewritten, in one
    transaction. The experiments tell which folder that was: each was created with
    :func:`location_of`. The caller holds the lock of the embedded store.

    Args:
        database: the embedded store; a new file without tables is left as it is.

    Raises:
        sqlite3.Error: the store is locked, full or damaged; it is as it was.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        former = _former_folders(connection)
        for table, column in _text_columns(connection) if former else ():
            for old in former:
                connection.execute(
                    f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?)'
                    f' WHERE substr("{column}", 1, ?) = ?',
                    (f"{_own_folder()}/", len(old) + 2, len(old) + 1, f"{old}/"),
                )


def _own_folder() -> str:
    return (scratch() / ARTIFACTS).as_uri()


def _former_folders(connection: sqlite3.Connection) -> set[str]:
    """Return the addresses of other artifact folders that experiments were created in."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return set()
    rows = connection.execute("SELECT name, artifact_location FROM experiments").fetchall()
    folders = set()
    for name, location in rows:
        tail = location_of(name).removeprefix(_own_folder())
        if location and location.startswith("file:") and location.endswith(f"/{ARTIFACTS}{tail}"):
            folders.add(location.removesuffix(tail))
    return folders - {_own_folder()}


def _text_columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        for _, column, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            if "CHAR" in kind.upper() or "TEXT" in kind.upper():
                yield table, column
