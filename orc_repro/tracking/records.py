"""Reading a run's log: every line checked, as the file may be damaged or someone else's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from orc_repro.errors import UserError
from orc_repro.files import open_file, read_file
from orc_repro.ranges import Count, Epoch, Milliseconds
from orc_repro.tracking.role_file import NAMES, as_table
from orc_repro.tracking.runlog import COMMITTED, METRICS, ROLES
from orc_repro.validation import Strict

if TYPE_CHECKING:
    import pandas as pd

LONGEST_LINE = 2**20
_EVERY_BYTE = 2**63
_COMMITTED = TypeAdapter(dict[str, Count])


class MetricsRecord(Strict):
    """One epoch's metrics; a value may be NaN."""

    model_config = ConfigDict(allow_inf_nan=True)

    time_ms: Milliseconds
    epoch: Epoch
    values: dict[str, float]


class RoleRecord(Strict):
    """One change of roles; the score of a loss that is not finite is NaN."""

    model_config = ConfigDict(allow_inf_nan=True)

    time_ms: Milliseconds
    epoch: Epoch
    step: Count
    left: tuple[str, ...]
    came: tuple[str, ...]
    teachers: tuple[str, ...]
    scores: dict[str, float]


Record = TypeVar("Record", MetricsRecord, RoleRecord)


class LogReader(Generic[Record]):
    """The records of one log of a run folder."""

    def __init__(self, folder: Path, name: str, form: type[Record]) -> None:
        self._folder, self._path = folder, folder / name
        self._form: type[Record] = form

    def all(self) -> list[Record]:
        """Every record, committed or not: for a run that has come to its end."""
        return [record for _, record in self._read(0, _EVERY_BYTE)]

    def undamaged(self) -> list[Record]:
        """The records before the first that is none: for a run whose log is still written, or was
        torn; it is cut there when the run goes on.
        """
        found: list[Record] = []
        with suppress(UserError):
            for _, record in self._read(0, _EVERY_BYTE):
                found.append(record)
        return found

    def committed(self, start: int = 0) -> Iterator[tuple[int, Record]]:
        """Each committed record from a byte offset on, with the offset behind it.

        Raises:
            UserError: a line is damaged, or the log is shorter than what was committed.
        """
        end = committed(self._folder).get(self._path.name, 0)
        position = start
        for position, record in self._read(start, end):
            yield position, record
        if position < end:
            raise UserError(f"{self._path} is damaged: it ends at byte {position} of {end}")

    def _read(self, start: int, end: int) -> Iterator[tuple[int, Record]]:
        if start >= end or not self._path.exists():
            return
        try:
            with open_file(self._path) as file:
                file.seek(start)
                while start < end and (line := file.readline(LONGEST_LINE)):
                    record = self._form.model_validate_json(line)
                    start += len(line)
                    yield start, record
        except OSError as error:
            raise UserError(f"{self._path} cannot be read: {error}") from None
        except ValidationError:
            raise UserError(f"{self._path} is damaged: no record begins at byte {start}") from None


def metrics_log(folder: Path) -> LogReader[MetricsRecord]:
    """The epochs of a run."""
    return LogReader(folder, METRICS, MetricsRecord)


def roles_log(folder: Path) -> LogReader[RoleRecord]:
    """The role changes of a run."""
    return LogReader(folder, ROLES, RoleRecord)


def committed(folder: Path) -> dict[str, int]:
    """How many bytes of each log may be delivered.

    Raises:
        UserError: the file that says so is damaged.
    """
    path = folder / COMMITTED
    try:
        return _COMMITTED.validate_json(read_file(path), strict=True)
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError):
        raise UserError(f"{path} is damaged; it says how far the run's log is complete") from None


def best_teacher(record: RoleRecord) -> str | None:
    """Return the temporary teacher with the lowest score, of equal ones the first declared.

    ``teachers`` are in the order of their declaration, whoever was ranked first.
    """
    scores = {name: record.scores.get(name, math.nan) for name in record.teachers}
    return min(scores, key=lambda name: (math.isnan(scores[name]), scores[name]), default=None)


def role_table(folder: Path, students: tuple[str, ...]) -> pd.DataFrame:
    """Every role change of a run that has come to its end, in order.

    Columns: ``epoch``, ``step`` (iteration over the run), ``left`` and ``came`` and ``teachers``
    (names joined by ``+``, empty for nobody), and ``score/<student>`` of every candidate (lowest
    won, NaN for a loss that is not finite).
    """
    rows = roles_log(folder).all()
    return as_table(
        [row.epoch for row in rows],
        [row.step for row in rows],
        {name: ["+".join(getattr(row, name)) for row in rows] for name in NAMES},
        {name: [row.scores.get(name, float("nan")) for row in rows] for name in students},
    )
