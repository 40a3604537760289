"""What this machine has: what cannot fit is refused before it is tried."""

from __future__ import annotations

import os

import psutil

from orc_repro.errors import UserError

PER_PROCESSOR = 8
"""Threads or processes; far more of them on a processor make next to no progress."""


def fits_into_memory(size_bytes: int) -> bool:
    """Whether this machine could ever hold so much."""
    return size_bytes <= int(psutil.virtual_memory().total)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that there is no memory left, here or on a GPU."""
    if isinstance(error, MemoryError):
        return True
    # torch's own class for a GPU is a RuntimeError; for the CPU it has none, only these words.
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("allocate memory", "out of memory")
    )


def refuse_more_than_bearable(count: int | None, name: str) -> None:
    """Refuse threads or processes in a number that only slows this machine down.

    Raises:
        UserError: it is more than :data:`PER_PROCESSOR` for each processor.
    """
    processors = os.cpu_count() or 1
    most = PER_PROCESSOR * processors
    if count is not None and count > most:
        raise UserError(
            f"{name} is {count}; this machine has {processors} processors, so it must be at most"
            f" {most}"
        )
