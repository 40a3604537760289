"""Starting a command again as several processes of this machine, by torch's own launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

import torch

from orc_repro.errors import Interrupted, UserError
from orc_repro.interruption import RUNNER, watched_pids
from orc_repro.processes.joining import started_by_torchrun


def run_side_by_side(processes: int, max_restarts: int, arguments: Sequence[str]) -> bool:
    """Run ``python -m orc_repro <arguments>`` on several processes, if more than one is wanted.

    When one of them dies, all are started again, up to ``max_restarts`` times; a stop that was
    asked for is none. The same as ``torchrun --nproc-per-node=N --max-restarts=M -m orc_repro …``.

    Returns:
        False if there is to be one, or this is one of them already: the command goes on itself.

    Raises:
        UserError: they did not all come to their end; each has said why.
        Interrupted: a stop was requested; they have ended.
    """
    if processes == 1 or started_by_torchrun():
        return False
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes and os.environ.get("ORC_DEVICE", "auto") == "auto":
        raise UserError(f"{processes} processes need a GPU each; this machine has {gpus}")
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    cores = os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    os.environ[RUNNER] = ",".join(str(pid) for pid in [*watched_pids(), os.getpid()])
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=max_restarts,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "orc_repro", *arguments)
    except SignalException as stopped:
        asked = signal.Signals(int(stopped.sigval))
        raise Interrupted(asked, f"stopped by {asked.name} with all its processes") from None
    except ChildFailedError as failed:
        rank, first = failed.get_first_failure()
        if first.exitcode > 128 and first.exitcode - 128 in set(signal.Signals):
            raise Interrupted(
                signal.Signals(first.exitcode - 128), f"process {rank} of {processes} was stopped"
            ) from None
        how = f"code {first.exitcode}" if first.exitcode >= 0 else first.signal_name()
        raise UserError(
            f"process {rank} of {processes} ended with {how}, and the others with it; the same"
            " command goes on from the last checkpoint"
        ) from None
    return True
