"""``run --workers``: a study's stages side by side, each through DVC.

DVC runs one stage at a time. Several of it in one project do work if each runs a single stage
whose dependencies are done, and waits for the others' locks; which is what is done here.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orc_repro.errors import UserError
from orc_repro.interruption import Interruption
from orc_repro.progress import Work, duration
from orc_repro.project import scratch
from orc_repro.stages.dvc_locks import copy_locks, holders, mend_dvc, mend_rwlock
from orc_repro.stages.dvc_runs import BUSY, LOOK_S, end_in_order, start_dvc, turn, who_is_at_work
from orc_repro.stages.jobs import Job

REST_S = 5.0


@dataclass
class Running:
    """A stage under way, in a process group of its own; what it prints goes to a file."""

    job: Job
    process: subprocess.Popen[bytes]
    worker: int
    log: Path
    started_s: float


@dataclass
class Board:
    """Keep account of stages: which are done, which failed, how long each kind takes.

    Attributes:
        jobs: all stages, each after those it waits for.
        done: addresses of those that are done.
        failed: the logs of those that failed, by their addresses.
        seconds: how long stages took, by their kind.
        resting: of stages that other DVCs kept out, by their addresses: the numbers of those, and
            when to try again at the earliest.
    """

    jobs: list[Job]
    done: set[str] = field(default_factory=set)
    failed: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    resting: dict[str, tuple[set[int], float]] = field(default_factory=dict)

    def ready(self, running: Mapping[int, Running]) -> Job | None:
        """Return the first stage that waits for nothing more."""
        begun = self.done | {entry.job.address for entry in running.values()} | self.failed.keys()
        for job in self.jobs:
            if job.address not in begun and job.after <= self.done and not self._rests(job):
                return job
        return None

    def _rests(self, job: Job) -> bool:
        others, until = self.resting.get(job.address, (set[int](), 0.0))
        return time.monotonic() < until or bool(others and others & holders().keys())

    def left_s(self, workers: int) -> float | None:
        """An estimate from the stages that are done; None before there are any."""
        every = [value for values in self.seconds.values() for value in values]
        if not every:
            return None
        mean = {kind: sum(values) / len(values) for kind, values in self.seconds.items()}
        overall = sum(every) / len(every)
        ended = self.done | self.failed.keys()
        waiting = [job for job in self.jobs if job.address not in ended]
        return sum(mean.get(job.kind, overall) for job in waiting) / workers

    def put_off(self, entry: Running) -> bool:
        """Note a stage that another DVC kept out, to be tried again; False for any other end."""
        log = entry.log.read_text(errors="replace") if entry.process.returncode else ""
        if BUSY not in log:
            return False
        others = set(map(int, re.findall(r"\(PID (\d+)\)", log)))
        self.resting[entry.job.address] = others, time.monotonic() + REST_S
        return True

    def finish(self, entry: Running) -> None:
        """Note how a stage ended."""
        self.resting.pop(entry.job.address, None)
        if entry.process.returncode:
            self.failed[entry.job.address] = entry.log
            return
        self.done.add(entry.job.address)
        taken = time.monotonic() - entry.started_s
        self.seconds.setdefault(entry.job.kind, []).append(taken)


def run_side_by_side(jobs: list[Job], workers: int) -> None:
    """Run stages on ``workers`` processes; each has a GPU of its own as far as there are.

    A stage that fails stops what depends on it and nothing else.

    Raises:
        UserError: some stage failed; the others are done, and the same command goes on.
        Interrupted: a stop was requested, and nothing is running any more.
    """
    board, devices = Board(jobs), _devices()
    with (
        Interruption() as stop,
        turn(stop, alone=False),
        Work("pipeline", len(jobs), "stages") as work,
    ):
        mend_dvc()
        _work_off(board, workers, devices, stop, work)
        stop.stop_if_requested("with all it had started; the same command goes on from there")
    if board.failed:
        address, log = next(iter(board.failed.items()))
        skipped = len(jobs) - len(board.done) - len(board.failed)
        raise UserError(
            f"{len(board.failed)} of {len(jobs)} stages failed, {skipped} that need them were not"
            f" run; the first is {address}, whose last words are: {_last_words(log)}"
        )


def _work_off(
    board: Board, workers: int, devices: list[str], stop: Interruption, work: Work
) -> None:
    """Start stages until all that can be done are done, or a stop is requested.

    Args:
        board: keeps account of the stages.
        workers: how many stages run side by side.
        devices: the GPUs to share out.
        stop: whether to stop.
        work: where to say how far it is.
    """
    running = dict[int, Running]()
    try:
        while not stop.requested:
            for worker in [w for w, e in running.items() if e.process.poll() is not None]:
                _settle(running.pop(worker), board, workers, work)
            while len(running) < workers and (job := board.ready(running)) is not None:
                worker = min(set(range(workers)) - running.keys())
                running[worker] = _start(job, worker, workers, devices)
            if not running and not board.resting:
                return
            copy_locks(at_rest=False)
            time.sleep(LOOK_S)
    finally:
        end_in_order([entry.process for entry in running.values()])
        copy_locks(at_rest=True)


def _settle(entry: Running, board: Board, workers: int, work: Work) -> None:
    """Note how a stage ended, and say so; one that another DVC kept out is tried again."""
    first = entry.job.address not in board.resting
    if board.put_off(entry):
        if first:
            work.say(f"{entry.job.stage} waits: {who_is_at_work()}")
        mend_rwlock()  # which may name a process that has another's number
        return
    board.finish(entry)
    work.say(_told(entry, board, workers))
    work.done()


def _start(job: Job, worker: int, workers: int, devices: list[str]) -> Running:
    folder = scratch() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{job.address.replace('/', '_').replace(':', '_')}.log"
    cores = os.cpu_count() or 1
    environment = {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores // workers))),
    }
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[worker % len(devices)]
    with log.open("wb") as output:
        # Single item: DVC would else lock what all of them depend on.
        process = start_dvc(["--wait-for-lock", "repro", "-s", job.address], environment, output)
    return Running(job, process, worker, log, time.monotonic())


def _devices() -> list[str]:
    """The GPUs to share out, as CUDA names them; none where there is at most one."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        names = [name for name in shown.split(",") if name]
    else:
        import torch  # here: listing a pipeline loads no torch

        names = [str(index) for index in range(torch.cuda.device_count())]
    return names if len(names) > 1 else []


def _told(entry: Running, board: Board, workers: int) -> str:
    taken = time.monotonic() - entry.started_s
    state = "failed after" if entry.process.returncode else "done in"
    left = board.left_s(workers)
    rest = f", about {duration(left)} left" if left else ""
    count = len(board.done) + len(board.failed)
    return f"[{count}/{len(board.jobs)}] {entry.job.stage} {state} {duration(taken)}{rest}"


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("orc-repro:")]
    return (own or lines or ["nothing"])[-1][:300]
