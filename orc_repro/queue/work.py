"""``queue``: the stages of all studies one after another, for as long as there is time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from orc_repro.cells import Study, load_study
from orc_repro.config import Recipe
from orc_repro.errors import Interrupted, UserError, say
from orc_repro.instructions import use_portable_for
from orc_repro.interruption import TIME_IS_UP
from orc_repro.project import trained
from orc_repro.queue.claims import take
from orc_repro.queue.order import Entry
from orc_repro.queue.standing import is_busy, is_done, is_measured, manifest_if_prepared
from orc_repro.stages.dvc_locks import mend_dvc
from orc_repro.stages.jobs import Job, find_jobs, in_turn, jobs_of_cells
from orc_repro.stages.origin import change_of
from orc_repro.stages.runs_table import note_run

LOOK_S = 5.0


class Studies:
    """Every study and pool, read once; with tracking by files alone where MLflow is missing."""

    def __init__(self) -> None:
        self._known: dict[Path, Study] = {}

    def __getitem__(self, folder: Path) -> Study:
        if folder not in self._known:
            study = load_study(folder)
            if find_spec("mlflow") is None:
                off = study.params.tracking.model_copy(update={"enabled": False})
                study.params = study.params.model_copy(update={"tracking": off})
            self._known[folder] = study
        return self._known[folder]


def stages_of(entries: Sequence[Entry]) -> dict[Job, Path]:
    """Every stage that entries need, the first entry's first and each after those it waits for;
    with the study or pool that has it.

    Raises:
        UserError: a file of cells is missing, damaged or older than its study's.
    """
    keys: dict[Path, list[str]] = {}
    for entry in entries:
        keys.setdefault(entry.owner, []).append(entry.key)
    owners, ends = dict[Job, Path](), dict[tuple[Path, str], Job]()
    for owner, its in keys.items():
        jobs = jobs_of_cells(owner)
        owners |= dict.fromkeys(jobs, owner)
        found = find_jobs(jobs, [f"evaluate@{key}" for key in its])
        ends |= {(owner, key): job for key, job in zip(its, found, strict=True)}
    named = [ends[entry.owner, entry.key] for entry in entries]
    return {job: owners[job] for job in in_turn(named, owners)}


def recipes_of(jobs: Mapping[Job, Path], studies: Studies) -> list[Recipe]:
    """The recipes of the cells among some stages; each stage with the study or pool that has it."""
    found = []
    for job, owner in jobs.items():
        if job.kind == "evaluate":
            study = studies[owner]
            found.append(study.parts(study.cell(job.stage.partition("@")[2]))[1])
    return found


@dataclass
class Work:
    """The stages that entries of the queue need, in order.

    Attributes:
        device: where everything is trained.
        done: stages whose outputs are there.
        failed: stages that ended with an error, by its sentence; those that need them, and
            datasets that are not here, by none.
        count: how many stages this process has worked off.
        changed: datasets whose source is not what they were prepared from, with what to do.
    """

    entries: Sequence[Entry]
    device: str
    studies: Studies = field(default_factory=Studies)
    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    count: int = 0
    changed: dict[str, str] = field(default_factory=dict)
    _owners: dict[Job, Path] = field(default_factory=dict)

    def jobs(self) -> list[Job]:
        """List what cells without a result need, each stage after those it waits for.

        A cell whose dataset has changed has none.
        """
        left = [
            entry
            for entry in self.entries
            if entry.cell.dataset in self.changed
            or not is_measured(self.studies[entry.owner], entry.key)
        ]
        found = stages_of(left)
        self._owners = found
        return list(found)

    def run(self) -> None:
        """Work off what there is; return when nothing is left that this process can do.

        Raises:
            Interrupted: a stop was requested, or the time is over; what was done is saved.
        """
        self.changed = self._changes()
        jobs = self.jobs()
        use_portable_for(recipes_of(self._owners, self.studies))
        while True:
            waits = False
            for job in jobs:
                if job.address in self.done or job.address in self.failed:
                    continue
                if job.after & self.failed.keys():
                    self.failed[job.address] = ""  # said of the stage it needs
                elif not job.after <= self.done:
                    waits = True
                elif self._work_on(job):
                    break  # what is most wanted may have become possible
            else:
                if not waits or not self._others_work(jobs):
                    return
                time.sleep(LOOK_S)

    def _changes(self) -> dict[str, str]:
        """The datasets whose source has changed, of those that are prepared as declared."""
        owners = {entry.cell.dataset: entry.owner for entry in self.entries}
        return {
            dataset: change
            for dataset, owner in owners.items()
            if manifest_if_prepared(study := self.studies[owner], dataset) is not None
            and (change := change_of(study.params, dataset))
        }

    def _work_on(self, job: Job) -> bool:
        """Do a stage, or find that it is done; False if somebody else works on it."""
        study = self.studies[self._owners[job]]
        key = job.stage.partition("@")[2]
        if job.kind == "prepare" and key in self.changed:
            self.failed[job.address] = self.changed[key]
            say("error", f"{job.stage} failed: {self.changed[key]}")
            return True
        if is_done(study, job.kind, key):
            _note(job.kind, study, key)  # whoever finished it may have been stopped before
            self.done.add(job.address)
            return True
        claim = None if is_busy(study, job.kind, key) else take(job.address)
        if claim is None:
            return False
        with claim:
            if not is_done(study, job.kind, key):  # somebody finished it while it was claimed
                began = time.monotonic()
                try:
                    _do(job.kind, study, key, self.device)
                except UserError as error:
                    # A machine need not have every dataset; what is on one waits for another.
                    without_data = job.kind == "prepare"
                    self.failed[job.address] = "" if without_data else str(error)
                    what = "is passed over" if without_data else "failed"
                    say(f"{job.stage} {what}", str(error))
                    return True
                self.count += 1
                print(f"{job.stage} done in {time.monotonic() - began:.0f} s", flush=True)
            self.done.add(job.address)
        return True

    def _others_work(self, jobs: Sequence[Job]) -> bool:
        """Whether a stage that others wait for is under way elsewhere."""
        ended = self.done | self.failed.keys()
        left = [job for job in jobs if job.address not in ended]
        needed = {address for job in left for address in job.after}
        return any(job.address in needed and job.after <= self.done for job in left)

    def first_failure(self) -> str:
        """The sentence of the stage that failed first; empty if none did."""
        return next(filter(None, self.failed.values()), "")


def _do(kind: str, study: Study, key: str, device: str) -> None:
    from orc_repro.stages.predictions import evaluate_and_keep
    from orc_repro.stages.prepare import prepare
    from orc_repro.stages.pretrain import assist, pretrain
    from orc_repro.stages.train import train

    stages: dict[str, Callable[[Study, str, str], object]] = {
        "pretrain": pretrain,
        "assist": assist,
        "train": train,
        "evaluate": evaluate_and_keep,
    }
    if kind == "prepare":
        prepare(study.params, key)
        return
    try:
        stages[kind](study, key, device)
    finally:  # a run that is stopped as it finishes is finished
        _note(kind, study, key)


def _note(kind: str, study: Study, key: str) -> None:
    path = trained(study.name) / f"{key}.json"
    if kind not in ("prepare", "evaluate") and path.exists():
        note_run(path)


def work(entries: Sequence[Entry], device: str, minutes: float | None) -> list[str]:
    """Work off entries, for some minutes at most; returns what to print.

    Raises:
        Interrupted: a person or a program asked to stop; what was done is saved.
        UserError: some stages failed; all that do not need them are done, or time is over.
    """
    mend_dvc()
    under_way = Work(entries, device)
    why = "nothing is left to do here"
    try:
        with _clock(minutes):
            under_way.run()
    except Interrupted as stopped:
        if stopped.by.name != TIME_IS_UP:
            raise
        why = f"{minutes:g} minutes are over; the same command goes on"
    measured = sum(is_measured(under_way.studies[e.owner], e.key) for e in entries)
    line = f"{under_way.count} stages done, {measured} of {len(entries)} cells measured; {why}"
    if under_way.first_failure():
        failed = sum(map(bool, under_way.failed.values()))
        raise UserError(f"{line}; {failed} stages failed, first: {under_way.first_failure()}")
    return [line]


@contextmanager
def _clock(minutes: float | None) -> Iterator[None]:
    """Send this process a signal when the time is over, as a person would."""
    if minutes is None:
        yield
        return
    if not hasattr(signal, TIME_IS_UP):
        raise UserError("this system has no clock that stops a run; leave out --minutes")
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
