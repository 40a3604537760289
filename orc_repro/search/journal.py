"""A search's journal on this machine; it goes on after a write that was cut short."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from orc_repro.errors import UserError

BLOCK = 2**16


class Journal(JournalFileBackend):
    """Optuna's journal file, which cuts off a torn last line before it appends.

    A power cut, a kill or a full disk can leave a record without its end. Optuna skips it when it
    reads, but would append the next record to the same line and could read neither.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(str(path), _MendingLock(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records, each on a line.

        Raises:
            UserError: the file cannot be written.
        """
        try:
            super().append_logs(logs)
        except OSError as error:
            raise UserError(
                f"the search's journal {self.path} cannot be written: {error.strerror or error};"
                " the same command goes on with the search once it can"
            ) from None

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the records from a number on.

        Raises:
            UserError: a line before the last one is damaged.
        """
        number = log_number_from
        try:
            for record in super().read_logs(log_number_from):
                yield record
                number += 1
        except ValueError:
            raise UserError(
                f"the search's journal {self.path} is damaged: line {number + 1} is no record;"
                " move the file away, and the search begins again with the runs that it has made"
            ) from None


class _MendingLock(JournalFileSymlinkLock):
    """Optuna's lock of a journal; whoever gets it finds whole lines."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def acquire(self) -> bool:
        """Wait for the lock, then mend the file."""
        acquired = super().acquire()
        try:
            cut_torn_line(self._path)
        except BaseException:
            self.release()
            raise
        return acquired


def cut_torn_line(path: Path) -> None:
    """Cut what stands behind the last line break of a file; hold the lock of whoever appends.

    Raises:
        OSError: the file cannot be read or cut.
    """
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - BLOCK)
            file.seek(start)
            position = file.read(end - start).rfind(b"\n")
            if position >= 0:
                end = start + position + 1
                break
            end = start
        if end < size:
            file.truncate(end)
