"""Start DVC, stop it in order, and wait for others that are at work with it in this checkout."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

import psutil

from orc_repro.errors import one_line, say
from orc_repro.interruption import RUNNER, SHELLS, Interruption
from orc_repro.stages.dvc_locks import DVC, holders

TURN = DVC / "tmp/orc-run.lock"
BUSY = "is busy, it is being blocked by"
"""DVC's words for a stage whose files another DVC reads or writes."""
LOOK_S = 0.2
PATIENCE_S = 120.0  # DVC ends soon after its command; hashing a large output takes its time


def start_dvc(
    words: Sequence[str],
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start DVC in a process group of its own, so that a terminal's Ctrl-C does not reach it.

    What it runs stops when this process is gone.

    Args:
        words: its command line, behind ``dvc``.
        environment: variables to add to those of this process.
        output: where its output goes; where that of this process goes if None.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", *words],
        start_new_session=True,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        env=os.environ
        | {"DVC_NO_ANALYTICS": "1", RUNNER: str(os.getpid())}
        | dict(environment or {}),
    )


def end_in_order(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask the commands that DVCs run to stop, and wait until the DVCs have ended by themselves.

    A DVC that is interrupted while it writes its lock leaves half of it; one whose command ends
    gives its locks back, and ends. A DVC that is between two commands is heard when it starts the
    next. What has no command and does not end is killed.
    """
    asked, quiet_since = set[int](), time.monotonic()
    while running := [dvc for dvc in started if dvc.poll() is None]:
        commands = [command for dvc in running for command in _commands(dvc.pid)]
        for command in commands:
            if command.pid not in asked:
                asked.add(command.pid)
                with contextlib.suppress(psutil.Error):
                    command.terminate()
        if commands:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > PATIENCE_S:
            break
        time.sleep(LOOK_S)
    for dvc in started:
        _end_group(dvc.pid)
        dvc.wait()


def _commands(parent: int) -> Iterator[psutil.Process]:
    """Find the commands that a DVC runs, behind the shells it starts."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(parent).children():
            with contextlib.suppress(psutil.Error):
                if child.name() in SHELLS:
                    yield from _commands(child.pid)
                elif "DVC_STAGE" in child.environ():  # not one that DVC is just starting
                    yield child


def _end_group(group: int) -> None:
    """Wait until nothing of a process group is left; kill what does not end."""
    end = time.monotonic() + PATIENCE_S
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(LOOK_S)
        os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def turn(stop: Interruption, alone: bool) -> Iterator[None]:
    """Wait until no other run of this checkout is in the way, and keep others out meanwhile.

    A run that leaves all to one DVC has to be alone, as that fails where it meets another. Runs
    that start a DVC for each stage wait stage by stage, and keep out only the former.

    Args:
        stop: whether to wait on.
        alone: whether this run has to be alone.

    Raises:
        Interrupted: a stop was requested while it waited.
    """
    if not DVC.is_dir():
        yield
        return
    TURN.parent.mkdir(parents=True, exist_ok=True)
    with TURN.open("a") as file:
        told = False
        while not _take(file, alone) or (alone and holders()):
            if not told:
                say("waiting", who_is_at_work())
                told = True
            if stop.requested:
                stop.stop_if_requested("while it waited for another run; nothing was begun")
            time.sleep(LOOK_S)
        yield


def who_is_at_work() -> str:
    """Name in a sentence the processes that keep a run from going on."""
    others = holders()
    if not others:
        return "another `orc-repro run` is at work in this checkout"
    pid, command = next(iter(others.items()))
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return f"process {pid} ({one_line(command, 100)}){more} is at work in this checkout"


def _take(file: IO[str], alone: bool) -> bool:
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without such locks
        return True
    return True
