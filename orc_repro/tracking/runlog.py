"""A run's own append-only files: the truth about its curves and role changes.

``metrics.jsonl`` has one line an epoch, ``roles.jsonl`` one a role change, each with the time it
happened at, in milliseconds since 1970. Times are why these files are no DVC outputs.

A checkpoint holds a :class:`Mark` of each file, and a resumed run truncates the files to it, so
that no record is doubled or missing. ``committed.json`` says how far the *older* of the two kept
checkpoints covers them. Only that much may be delivered while a run is under way: what lies behind
it can be made again, at other times, even if the newest checkpoint is damaged.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import Field

from orc_repro.distill.roles import RoleChange
from orc_repro.errors import UserError
from orc_repro.files import write_json
from orc_repro.ranges import Count
from orc_repro.validation import Strict

METRICS, ROLES = "metrics.jsonl", "roles.jsonl"
FILES = (METRICS, ROLES)
COMMITTED = "committed.json"
ARTIFACTS = "artifacts"
BLOCK = 2**20


class Mark(Strict):
    """How long a file was, and the SHA-256 of that much of it."""

    length: Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Log(Protocol):
    """What a training tells, and where it finds what was told before."""

    folder: Path

    def metrics(self, epoch: int, values: Mapping[str, float]) -> None:
        """Record an epoch's metrics."""

    def role_change(self, change: RoleChange) -> None:
        """Record a change of roles."""

    def flush(self) -> dict[str, Mark]:
        """Bring everything to the disk; returns a mark of each file as it is now."""
        ...

    def checkpointed(self, marks: dict[str, Mark]) -> None:
        """A checkpoint that holds these marks is on the disk."""

    def matches(self, marks: Mapping[str, Mark]) -> bool:
        """Whether the log still begins with what these marks are of."""
        ...

    def resume(self, marks: Mapping[str, Mark]) -> None:
        """Forget what came after these marks."""

    def close(self) -> None:
        """Nothing more is told."""


class Unwritten:
    """The log of a process that does not lead: its run's leader writes the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def metrics(self, epoch: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def role_change(self, change: RoleChange) -> None:
        """Nothing."""

    def flush(self) -> dict[str, Mark]:
        """No file."""
        return {}

    def checkpointed(self, marks: dict[str, Mark]) -> None:
        """Nothing."""

    def matches(self, marks: Mapping[str, Mark]) -> bool:
        """Nothing was written that could differ."""
        return True

    def resume(self, marks: Mapping[str, Mark]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class RunLog:
    """Appends; in memory until :meth:`flush`.

    Raises:
        UserError: the folder or a file in it cannot be opened or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what a full disk refuses must not be tried again when the file is closed.
            self._files = {name: FileIO(folder / name, "a") for name in FILES}
        except OSError as error:
            raise UserError(f"the run folder {folder} cannot be written: {error}") from None
        self._waiting = {name: bytearray() for name in FILES}
        self._hashes = {name: _hash_of(folder / name) for name in FILES}
        self._last: dict[str, Mark] = {}

    def metrics(self, epoch: int, values: Mapping[str, float]) -> None:
        """Record an epoch's metrics."""
        self._append(METRICS, {"epoch": epoch, "values": dict(values)})

    def role_change(self, change: RoleChange) -> None:
        """Record a change of roles."""
        self._append(ROLES, vars(change))

    def _append(self, name: str, record: dict[str, Any]) -> None:
        line = json.dumps({"time_ms": time.time_ns() // 1_000_000} | record)
        self._waiting[name] += line.encode() + b"\n"

    def flush(self) -> dict[str, Mark]:
        """Write everything to the disk; returns a mark of each file as it is now."""
        marks = {}
        try:
            for name, file in self._files.items():
                if not os.path.samestat(os.fstat(file.fileno()), os.stat(self.folder / name)):
                    raise OSError(f"{name} was replaced while it was written")
                waiting = self._waiting[name]
                while waiting:
                    written = file.write(waiting)
                    self._hashes[name].update(waiting[:written])
                    del waiting[:written]
                os.fsync(file.fileno())
                marks[name] = Mark(
                    length=os.fstat(file.fileno()).st_size, sha256=self._hashes[name].hexdigest()
                )
        except OSError as error:
            raise UserError(f"the run log in {self.folder} cannot be written: {error}") from None
        return marks

    def checkpointed(self, marks: dict[str, Mark]) -> None:
        """A checkpoint that holds these marks is on the disk; commit what the one before covers."""
        commit(self.folder, self._last)
        self._last = marks

    def matches(self, marks: Mapping[str, Mark]) -> bool:
        """Whether the files still begin with what these marks are of."""
        return set(marks) == set(FILES) and all(
            (self.folder / name).stat().st_size >= mark.length
            and _hash_of(self.folder / name, mark.length).hexdigest() == mark.sha256
            for name, mark in marks.items()
        )

    def resume(self, marks: Mapping[str, Mark]) -> None:
        """Forget what came after these marks (everything where there is none) and go on there."""
        try:
            for name, file in self._files.items():
                length = marks[name].length if name in marks else 0
                file.truncate(length)
                self._waiting[name].clear()
                self._hashes[name] = _hash_of(self.folder / name, length)
        except OSError as error:
            raise UserError(f"the run log in {self.folder} cannot be written: {error}") from None
        self._last = dict(marks)

    def close(self) -> None:
        """Close the files; what was not flushed is no part of any checkpoint, and lost."""
        for file in self._files.values():
            file.close()


def forget(folder: Path) -> None:
    """Remove a run's log and artifacts, before another run of the same fingerprint begins."""
    for name in (COMMITTED, *FILES):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / ARTIFACTS, ignore_errors=True)


def commit(folder: Path, marks: Mapping[str, Mark]) -> None:
    """Say how far a log may be delivered."""
    try:
        write_json(folder / COMMITTED, {name: mark.length for name, mark in marks.items()})
    except OSError as error:
        raise UserError(f"the run log in {folder} cannot be written: {error}") from None


def commit_all(folder: Path) -> None:
    """The run has come to its end: all of its log may be delivered."""
    lengths = {name: (folder / name).stat().st_size for name in FILES if (folder / name).exists()}
    write_json(folder / COMMITTED, lengths)


def _hash_of(path: Path, length: int | None = None) -> hashlib._Hash:
    """A hash over a file's first bytes (all of them by default), to be continued."""
    found = hashlib.sha256()
    left = path.stat().st_size if length is None else length
    with path.open("rb") as file:
        while left and (block := file.read(min(left, BLOCK))):
            found.update(block)
            left -= len(block)
    return found
