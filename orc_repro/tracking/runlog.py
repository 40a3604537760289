"""A run's own append-only files: the truth about its curves and role changes.

``metrics.jsonl`` has one line an epoch, ``roles.jsonl`` one a role change, each with the time it
happened at, in milliseconds since 1970. Times are why these files are no DVC outputs.

``committed.json`` says how far a checkpoint covers them. Only that much is delivered: what lies
behind it is made again, at other times, if the run is stopped and resumed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orc_repro.distill.roles import RoleChange
from orc_repro.errors import UserError
from orc_repro.fingerprint import write_json

if TYPE_CHECKING:
    import pandas as pd

FILES = ("metrics.jsonl", "roles.jsonl")
COMMITTED = "committed.json"


class RunLog:
    """Appends; buffered until :meth:`flush`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._files: dict[str, BufferedWriter] = {
                name: (folder / name).open("ab") for name in FILES
            }
        except OSError as error:
            raise UserError(f"the run folder {folder} cannot be written: {error}") from None

    def metrics(self, epoch: int, values: Mapping[str, float]) -> None:
        """Record an epoch's metrics."""
        self._append("metrics.jsonl", {"epoch": epoch, "values": dict(values)})

    def role_change(self, change: RoleChange) -> None:
        """Record a change of roles."""
        self._append("roles.jsonl", vars(change))

    def _append(self, name: str, record: dict[str, Any]) -> None:
        line = json.dumps({"time_ms": time.time_ns() // 1_000_000} | record)
        self._files[name].write(line.encode() + b"\n")

    def flush(self) -> dict[str, int]:
        """Write everything to the disk; returns each file's length in bytes."""
        try:
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"the run log in {self.folder} cannot be written: {error}") from None
        return {name: file.tell() for name, file in self._files.items()}

    def commit(self, positions: Mapping[str, int]) -> None:
        """A checkpoint that continues from these lengths is on the disk."""
        write_json(self.folder / COMMITTED, dict(positions))

    def truncate(self, positions: Mapping[str, int]) -> None:
        """Forget what came after these lengths (after 0 where none is given), and commit that."""
        for name, file in self._files.items():
            file.flush()
            file.truncate(positions.get(name, 0))
            file.seek(0, os.SEEK_END)
        self.commit(self.flush())

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        for file in self._files.values():
            file.close()


def forget(folder: Path) -> None:
    """Remove a run's log, before another run of the same fingerprint begins."""
    for name in (COMMITTED, *FILES):
        (folder / name).unlink(missing_ok=True)


def committed(folder: Path) -> dict[str, int]:
    """Each file's length as of the last checkpoint."""
    path = folder / COMMITTED
    lengths: dict[str, int] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return lengths


def read_lines(path: Path, start: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each committed record from a byte offset on, with the offset behind it."""
    end = committed(path.parent).get(path.name, 0)
    if start >= end:
        return
    with path.open("rb") as file:
        file.seek(start)
        while start < end:
            line = file.readline()
            start += len(line)
            yield start, json.loads(line)


def role_table(folder: Path, students: tuple[str, ...]) -> pd.DataFrame:
    """Every role change of a run, in order.

    Columns: ``epoch``, ``step`` (iteration over the run), ``left`` and ``came`` and ``teachers``
    (names joined by ``+``, empty for nobody), and ``score/<student>`` of every candidate (lowest
    won, NaN for a loss that is not finite).
    """
    import pandas as pd  # here: three quarters of a second that only this needs

    rows = [record for _, record in read_lines(folder / "roles.jsonl")]
    table = pd.DataFrame(
        {
            "epoch": pd.array([row["epoch"] for row in rows], dtype="int32"),
            "step": pd.array([row["step"] for row in rows], dtype="int64"),
        }
    )
    for column in ("left", "came", "teachers"):
        table[column] = pd.array(["+".join(row[column]) for row in rows], dtype="string")
    for name in students:
        values = [row["scores"].get(name, float("nan")) for row in rows]
        table[f"score/{name}"] = pd.array(values, dtype="float64")
    return table
