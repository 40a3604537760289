"""Being asked to stop: by a signal, by a clock, or because whoever started this process is gone.

DVC that is told to terminate leaves its command running, and the lock says nothing of the result.
So a run that DVC started looks now and then whether DVC is still there, and stops if it is not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from types import FrameType

import psutil

from orc_repro.errors import Interrupted, UserError, one_line

SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM")
    if hasattr(signal, name)
)
TIME_IS_UP = "SIGALRM"
"""The signal of a clock that this process has set itself."""
RUNNER = "ORC_RUN_PID"
"""Environment variable: the processes that started this one, and must outlive it."""
LONGEST_PID = 9  # digits
SAME_REQUEST_S = 0.5
LOOK_INTERVAL_S = 1.0
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish", "cmd.exe"})


class Interruption:
    """Use as a context manager around work that can stop in an orderly way.

    The first SIGINT, SIGTERM, SIGHUP or SIGALRM is remembered as :attr:`requested`; a second one
    ends the process at once. Two within half a second are one request that came on two ways, and a
    clock is no person who has lost patience.
    """

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._asked = self._looked = time.monotonic()
        self._watched = _starters()
        if self._watched is None:  # gone before it could be watched
            self._signal = signal.SIGTERM
        self._former: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                former = signal.getsignal(number)
                if former is not signal.SIG_IGN:  # nohup, or a shell's background job
                    self._former[number] = former
                    signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)  # type: ignore[arg-type]

    def _remember(self, number: int, _: FrameType | None) -> None:
        now, clock = time.monotonic(), signal.Signals(number).name == TIME_IS_UP
        if self._signal is not None and not clock and now - self._asked > SAME_REQUEST_S:
            os._exit(128 + number)
        if self._signal is None:
            self._signal, self._asked = signal.Signals(number), now

    @property
    def requested(self) -> signal.Signals | None:
        """The signal that asked to stop, or SIGTERM if the starting process is gone, or None."""
        now = time.monotonic()
        if self._signal is None and now - self._looked > LOOK_INTERVAL_S:
            self._looked = now
            if not all(map(alive, self._watched or ())):
                self._signal, self._asked = signal.SIGTERM, now
        return self._signal

    def stop_if_requested(self, where: str) -> None:
        """Raise :class:`Interrupted` if a stop is requested; ``where`` completes the sentence."""
        if self._signal is not None:
            raise Interrupted(self._signal, f"stopped by {self._signal.name} {where}")


def watched_pids() -> list[int]:
    """The processes without which this one would stop."""
    return [process.pid for process in _starters() or ()]


def alive(process: psutil.Process) -> bool:
    """Whether a process is at work: one that has ended is not, if its parent has not asked yet."""
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _starters() -> list[psutil.Process] | None:
    """The processes without which this one is an orphan, none if a person started it.

    Returns:
        None if one of them is gone already.
    """
    found = []
    try:
        if os.environ.get("DVC_STAGE"):
            for parent in psutil.Process().parents():
                found.append(parent)
                if parent.name() not in SHELLS:  # DVC itself, behind the shell it starts
                    break
        if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun would have started it again
            found += [process for process in [psutil.Process().parent()] if process is not None]
        for runner in filter(None, os.environ.get(RUNNER, "").split(",")):
            if not (runner.isdecimal() and len(runner) <= LONGEST_PID):
                raise UserError(
                    f"{RUNNER} is '{one_line(os.environ[RUNNER], 100)}'; it must be the ids of"
                    " processes, with commas between them, and need not be set"
                )
            found.append(psutil.Process(int(runner)))
    except psutil.NoSuchProcess:
        return None
    return found
