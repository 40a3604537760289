"""``sync``: whatever of this machine's runs has not arrived in MLflow."""

from __future__ import annotations

import time
from pathlib import Path

from filelock import FileLock, Timeout

from orc_repro.config import Tracking
from orc_repro.deadline import Unusable
from orc_repro.errors import UserError
from orc_repro.files import write_json
from orc_repro.progress import Work
from orc_repro.project import scratch
from orc_repro.stages.run import LOCK
from orc_repro.tracking.delivery import deliver
from orc_repro.tracking.outcome import OUTCOME, Outcome, read_outcome


def run_folders() -> list[Path]:
    """The folders of every run made on this machine."""
    return sorted(path.parent for path in (scratch() / "runs").glob("*/run.json"))


def sync(settings: Tracking) -> tuple[int, list[str]]:
    """Deliver every run that no process is working on.

    A run without an outcome whose process is gone was killed without a chance to say so; MLflow
    would show it as running for ever, so it is said here. Resuming it makes it run again.

    A store that does not answer is asked once, not once a run.

    Returns:
        how many runs were delivered, and a sentence for each that could not be.
    """
    done, problems, folders = 0, [], run_folders()
    with Work("sync", len(folders), "runs") as work:
        for folder in folders:
            work.done()
            lock = FileLock(folder / LOCK)
            try:
                with lock.acquire(timeout=0):
                    if read_outcome(folder) is None:
                        _write_killed(folder)
                    problem = deliver(folder, settings)
            except Timeout:
                continue  # its own process delivers it
            except Unusable as error:
                problems.append(str(error))
                break
            except UserError as error:
                problem = str(error)
            if problem:
                problems.append(problem)
            else:
                done += 1
    return done, problems


def _write_killed(folder: Path) -> None:
    killed = Outcome(
        status="KILLED",
        reason="the process was gone without a word",
        ended_ms=time.time_ns() // 1_000_000,
        figures={},
        weights_digest="",
    )
    write_json(folder / OUTCOME, killed.model_dump())
