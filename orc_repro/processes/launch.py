"""Starting a command again as several processes of this machine, by torch's own launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch

from orc_repro.errors import Interrupted, UserError
from orc_repro.interruption import RUNNER, SIGNALS, watched_pids
from orc_repro.processes.joining import started_by_torchrun

TIME_TO_SAVE_S = 600
"""How long processes that were asked to stop may take: they look up after a step, or after a
network was validated, and save.
"""
RESTART = "--restart"


def run_side_by_side(
    processes: int, max_restarts: int, device: str, arguments: Sequence[str]
) -> bool:
    """Run ``python -m orc_repro <arguments>`` on several processes, if more than one is wanted.

    When one of them is killed, all are started again, up to ``max_restarts`` times; not when one
    ends with an error of its own, which it would meet again, or after a stop.

    Args:
        device: the user's wish, as ``training.device.pick_device`` takes it.

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
        # What an attempt before this one has saved is what it goes on from.
        given = [word for word in arguments if attempt == 0 or word != RESTART]
        died = _run_once(processes, given)
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


def _run_once(processes: int, arguments: Sequence[str]) -> str | None:
    """Run all of them to their end; returns which one was killed, and how, or None."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        elastic_launch(_config(processes), sys.executable)("-m", "orc_repro", *arguments)
    except SignalException as stopped:
        asked = signal.Signals(int(stopped.sigval))
        raise Interrupted(asked, f"stopped by {asked.name} with all its processes") from None
    except ChildFailedError as failed:
        codes = {rank: failure.exitcode for rank, failure in failed.failures.items()}
        for rank, code in codes.items():
            if code < 0 and -code != signal.SIGTERM:  # that is how the others are ended
                return f"process {rank} of {processes} ended with {signal.Signals(-code).name}"
        rank, code = max(codes.items(), key=lambda found: found[1])
        if code - 128 in SIGNALS:
            raise Interrupted(
                signal.Signals(code - 128), f"process {rank} of {processes} was stopped"
            ) from None
        raise UserError(
            f"process {rank} of {processes} ended with code {code}, and the others with it"
        ) from None
    return None


def _config(processes: int) -> Any:
    from torch.distributed.launcher.api import LaunchConfig

    # Not what nohup or a shell's background job ignores.
    heard = [number.name for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    wanted: dict[str, Any] = {
        "min_nodes": 1,
        "max_nodes": 1,
        "nproc_per_node": processes,
        "run_id": uuid.uuid4().hex,
        "rdzv_backend": "c10d",
        "rdzv_endpoint": "localhost:0",
        "local_addr": "localhost",
        "max_restarts": 0,
        "monitor_interval": 0.1,
        "shutdown_timeout": TIME_TO_SAVE_S,
        "signals_to_handle": ",".join(heard),
    }
    known = {field.name for field in fields(LaunchConfig)}  # they grow with torch's versions
    return LaunchConfig(**{name: value for name, value in wanted.items() if name in known})
