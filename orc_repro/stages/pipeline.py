"""``run``: a study's pipeline through DVC, in a group of processes that ends together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from orc_repro.errors import UserError
from orc_repro.interruption import RUNNER, Interruption
from orc_repro.stages.dvc_locks import mend_rwlock

LOOK_S = 0.2
PATIENCE_S = 120.0  # a step under way is finished and saved; a large model takes its time


def run_pipeline(targets: list[str]) -> None:
    """``dvc repro`` of pipelines, or of stages by their addresses, and of all they depend on.

    DVC that is told to terminate would leave its command running. Here a request to stop goes to
    the command; DVC sees it end, gives its locks back and ends too. If this process is killed
    instead, a run notices that it is gone, and stops.

    Raises:
        UserError: a stage failed.
        Interrupted: a stop was requested, and nothing is running any more.
    """
    mend_rwlock()
    with Interruption() as stop:
        child = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", *targets],
            start_new_session=True,  # a terminal's Ctrl-C comes here alone, and is passed on once
            preexec_fn=hear_interrupt,
            env=os.environ | {"DVC_NO_ANALYTICS": "1", RUNNER: str(os.getpid())},
        )
        asked = False
        try:
            while child.poll() is None:
                if stop.requested and not asked:
                    asked = True
                    os.killpg(child.pid, signal.SIGINT)  # DVC waits for its command all the same
                time.sleep(LOOK_S)
        finally:
            end_group(child.pid)
            if asked:
                mend_rwlock()
        stop.stop_if_requested("with all it had started; the same command goes on from there")
    if child.returncode:
        raise UserError(f"dvc repro ended with code {child.returncode}; what failed is said above")


def hear_interrupt() -> None:
    """A shell's background job ignores SIGINT, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def end_group(group: int) -> None:
    """Wait until nothing of a process group is left; kill what does not end."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(LOOK_S)
    os.killpg(group, signal.SIGKILL)
