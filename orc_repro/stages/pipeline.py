"""``run``: a study's pipeline through DVC, in a group of processes that ends together."""

from __future__ import annotations

import time

from orc_repro.errors import UserError
from orc_repro.interruption import Interruption
from orc_repro.stages.dvc_locks import copy_locks, holders, mend_dvc
from orc_repro.stages.dvc_runs import LOOK_S, end_in_order, start_dvc, turn, who_is_at_work


def run_pipeline(targets: list[str]) -> None:
    """Run ``dvc repro`` for pipelines, or stages by their addresses, and all they depend on.

    DVC that is told to terminate would leave its command running. Here a request to stop goes to
    the command; DVC sees it end, gives its locks back and ends too. If this process is killed
    instead, a run notices that it is gone, and stops.

    Args:
        targets: the pipelines or stages.

    Raises:
        UserError: a stage failed.
        Interrupted: a stop was requested, and nothing is running any more.
    """
    with Interruption() as stop, turn(stop, alone=True):
        mend_dvc()
        dvc = start_dvc(["--wait-for-lock", "repro", *targets])
        try:
            while dvc.poll() is None and not stop.requested:
                copy_locks(at_rest=False)
                time.sleep(LOOK_S)
        finally:
            end_in_order([dvc])
            copy_locks(at_rest=True)
        stop.stop_if_requested("with all it had started; the same command goes on from there")
    if dvc.returncode:
        beside = f"; {who_is_at_work()}" if holders() else ""
        raise UserError(
            f"dvc repro ended with code {dvc.returncode}; what failed is said above{beside}"
        )
