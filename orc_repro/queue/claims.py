"""Who works on what, among processes that share ``ORC_SCRATCH``: on one machine, or over a network.

A claim is a file made exclusively, ``claims/<stage>/<number>``, which its holder touches now and
then. The highest number counts. A claim that was not touched for long is taken over by making the
next number, which one process alone can; nothing is moved or removed that somebody might be
looking at. Ages are compared with a file written now, by the same file system, so no clocks have
to agree.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import uuid
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from orc_repro.files import create_atomically, read_file
from orc_repro.interruption import SIGNALS, TIME_IS_UP
from orc_repro.process_identity import is_at_work, start_of
from orc_repro.project import scratch
from orc_repro.ranges import Count, Measured
from orc_repro.validation import Strict

TOUCHED_EVERY_S = 20.0
EXPIRES_AFTER_S = 300.0  # network file systems show another machine's touch a minute late
RELEASED = (0, 0)


class Holder(Strict):
    """Who made a claim; of a process on this machine it is known whether it still runs.

    Attributes:
        machine: the machine's name and hardware address.
        process: the number of the process there.
        began: when the process began, as `start_of` returns it.
    """

    machine: str
    process: Count
    began: str | Measured


class Claim:
    """A stage that this process alone works on; use as a context manager."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        self._path = folder / f"{number:06d}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._stay, name="claim", daemon=True)

    def __enter__(self) -> Claim:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OSError):  # then it expires
            os.utime(self._path, RELEASED)

    def _stay(self) -> None:
        while not self._over.wait(TOUCHED_EVERY_S):
            with contextlib.suppress(OSError):  # a network that is away for a moment
                if _highest(self._folder) != self._number:
                    # This machine was asleep for long, and another works on it now.
                    stop = next(s for s in SIGNALS if s.name != TIME_IS_UP)
                    os.kill(os.getpid(), stop)
                    return
                os.utime(self._path)


def take(stage: str) -> Claim | None:
    """Claim a stage; None if somebody else has it.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = scratch() / "claims" / stage.replace("/", "_").replace(":", "_")
    folder.mkdir(parents=True, exist_ok=True)
    highest = _highest(folder)
    if highest and _is_held(folder / f"{highest:06d}", folder):
        return None
    path = folder / f"{highest + 1:06d}"
    try:
        create_atomically(path, _me().model_dump_json().encode())
    except FileExistsError:
        return None  # somebody was faster
    for number in range(1, highest + 1):  # whoever saw one of these has seen the last one, too
        (folder / f"{number:06d}").unlink(missing_ok=True)
    return Claim(folder, highest + 1)


def is_claimed(stage: str) -> bool:
    """Whether somebody works on a stage."""
    folder = scratch() / "claims" / stage.replace("/", "_").replace(":", "_")
    highest = _highest(folder)
    return bool(highest) and _is_held(folder / f"{highest:06d}", folder)


def _highest(folder: Path) -> int:
    return max((int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit()), default=0)


def _is_held(path: Path, folder: Path) -> bool:
    try:
        touched = path.stat().st_mtime
        if touched == RELEASED[1] or _now(folder) - touched > EXPIRES_AFTER_S:
            return False
        holder = Holder.model_validate_json(read_file(path))
    except FileNotFoundError:
        return True  # taken over just now
    except ValidationError:
        return True  # of another version; it expires
    return holder.machine != _machine() or is_at_work(holder.process, holder.began)


def _now(folder: Path) -> float:
    """The file system's time."""
    probe = folder / f"now-{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _machine() -> str:
    return f"{socket.gethostname()} {uuid.getnode():012x}"


def _me() -> Holder:
    process = os.getpid()
    began = start_of(process)
    assert began is not None  # this process is there
    return Holder(machine=_machine(), process=process, began=began)
