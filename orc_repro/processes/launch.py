"""Start a command again as several processes of this machine.

The processes meet in a file of a folder that only this user can open, and talk through the loopback
interface: no port is open to the network, and no process outside the run can join it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch

from orc_repro.errors import Interrupted, UserError
from orc_repro.interruption import RUNNER, SIGNALS, Interruption, watched_pids
from orc_repro.processes.joining import MEETING, started_by_torchrun

TIME_TO_SAVE_S = 600
"""How long processes may take to stop: each ends its step or its validation, and saves."""
LOOK_S = 0.1
RESTART = "--restart"
LOOPBACK = "127.0.0.1"


def run_side_by_side(
    processes: int, max_restarts: int, device: str, arguments: Sequence[str]
) -> bool:
    """Run ``python -m orc_repro <arguments>`` on several processes, if more than one is wanted.

    When one of them is killed, all are started again, up to ``max_restarts`` times. An error of a
    process's own or a stop starts nothing again.

    Args:
        processes: how many.
        max_restarts: how often all may be started again.
        device: the user's wish, as ``training.device.pick_device`` takes it.
        arguments: the words of the command line.

    Returns:
        False if there is to be one, or this is one of them already: the command goes on itself.

    Raises:
        UserError: they did not all come to their end; each has said why.
        Interrupted: a stop was requested; they have ended.
    """
    if processes == 1 or started_by_torchrun():
        return False
    _refuse_too_few_devices(processes, device)
    cores = os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    os.environ[RUNNER] = ",".join(str(pid) for pid in [*watched_pids(), os.getpid()])
    for attempt in range(max_restarts + 1):
        # A restart continues what the attempt before it has saved.
        words = [word for word in arguments if attempt == 0 or word != RESTART]
        died = run_once(processes, [sys.executable, "-m", "orc_repro", *words])
        if died is None:
            return True
        again = attempt < max_restarts
        left = "; all start again from the last checkpoint" if again else ""
        print(f"warning: {died}, and the others with it{left}", file=sys.stderr)
    raise UserError(f"{died}, and the others with it; the same command goes on")


def _refuse_too_few_devices(processes: int, device: str) -> None:
    gpus = torch.cuda.device_count()
    if device.startswith("cuda:"):
        raise UserError(f"{processes} processes need a GPU each; the device is '{device}'")
    if device != "cpu" and 0 < gpus < processes:
        raise UserError(f"{processes} processes need a GPU each; this machine has {gpus}")


def run_once(processes: int, command: Sequence[str]) -> str | None:
    """Run a command on all processes to its end.

    Args:
        processes: how many.
        command: the program and its arguments, the same for all.

    Returns:
        Which process was killed, and by what; None if all came to their end.

    Raises:
        UserError: a process ended with an error of its own.
        Interrupted: a stop was requested of this process or of one of them.
    """
    with Interruption() as stop, TemporaryDirectory(prefix="orc-") as folder:
        children = list[subprocess.Popen[bytes]]()
        codes = list[int | None]()
        try:
            for rank in range(processes):
                children.append(_start(rank, processes, Path(folder) / "meeting", command))
            while not stop.requested:
                codes = [child.poll() for child in children]
                if any(codes) or None not in codes:
                    break
                time.sleep(LOOK_S)
        finally:
            _end(children, stop.requested or signal.SIGTERM)
        stop.stop_if_requested("with all its processes")
    return _outcome({rank: code for rank, code in enumerate(codes) if code}, processes)


def _start(
    rank: int, processes: int, meeting: Path, command: Sequence[str]
) -> subprocess.Popen[bytes]:
    """Start one process, in a group of its own: a terminal's Ctrl-C reaches the launcher alone."""
    interface = _loopback_interface()
    environment = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        MEETING: str(meeting),
        "GLOO_SOCKET_IFNAME": interface,
        "NCCL_SOCKET_IFNAME": interface,
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": os.environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
    }
    return subprocess.Popen(command, env=os.environ | environment, start_new_session=True)


def _loopback_interface() -> str:
    interfaces = psutil.net_if_addrs().items()
    names = [name for name, its in interfaces if LOOPBACK in [entry.address for entry in its]]
    return names[0] if names else "lo"


def _end(children: Iterable[subprocess.Popen[bytes]], request: signal.Signals) -> None:
    """Ask processes to stop, wait until they have saved, and kill what is left of their groups."""
    listed = list(children)
    for child in listed:
        child.send_signal(request)  # which does nothing to one that has ended
    end = time.monotonic() + TIME_TO_SAVE_S
    for child in listed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, end - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _outcome(failures: dict[int, int], processes: int) -> str | None:
    """Tell how processes ended from the exit codes of those that ended first; see `run_once`."""
    for rank, code in failures.items():
        if code < 0 and -code != signal.SIGTERM:
            return f"process {rank} of {processes} ended with {signal.Signals(-code).name}"
    if not failures:
        return None
    rank, code = max(failures.items(), key=lambda failure: failure[1])
    if code - 128 in SIGNALS:
        raise Interrupted(signal.Signals(code - 128), f"process {rank} of {processes} was stopped")
    raise UserError(f"process {rank} of {processes} ended with code {code}, and the others with it")
