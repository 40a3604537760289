"""Recognise a process of this machine again, whose number another one may have by now."""

from __future__ import annotations

from pathlib import Path

import psutil

from orc_repro.interruption import alive

SAME_START_S = 5.0
"""How far two readings of one start time may differ where only the time of day is there."""


def start_of(pid: int) -> str | float | None:
    """Return when a process began: with its number, this names it and no other.

    On Linux the time is counted from the start of the machine, so that setting the clock changes
    nothing; elsewhere it is the time of day, in seconds.

    Returns:
        None if there is no such process, or it has ended and its parent has not asked yet.
    """
    return _since_boot(pid) or _time_of_day(pid)


def is_at_work(pid: int, start: str | float) -> bool:
    """Tell whether the process of a number and a start is still there; see `start_of`."""
    if isinstance(start, str):
        return _since_boot(pid) == start
    now = _time_of_day(pid)
    return now is not None and abs(now - start) <= SAME_START_S


def _since_boot(pid: int) -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()  # behind the name, which may hold spaces
    return None if state in "ZX" else f"{boot}/{fields[18]}"


def _time_of_day(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return process.create_time() if alive(process) else None
    except psutil.Error:
        return None
