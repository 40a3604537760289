"""What a study's pipeline consists of, stage by stage, and what has to be done before what."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orc_repro.cells import Cells
from orc_repro.errors import UserError, one_line
from orc_repro.pipelines import pipeline_of, write_pipeline
from orc_repro.project import ASSISTANTS, PIVOTS, POOLS
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml


@dataclass(frozen=True)
class Job:
    """A stage, by the address DVC knows it under, and the addresses of those it waits for."""

    address: str
    after: frozenset[str] = field(default_factory=frozenset)

    @property
    def file(self) -> str:
        """The pipeline that has the stage."""
        return self.address.rpartition(":")[0]

    @property
    def kind(self) -> str:
        """``prepare``, ``pretrain``, ``assist``, ``train``, ``evaluate`` or ``report``."""
        return self.stage.partition("@")[0]

    @property
    def stage(self) -> str:
        """The address without the pipeline's file: ``train@<key>``."""
        return self.address.rpartition(":")[2]


def jobs_of(study: Path) -> list[Job]:
    """Every stage a study's report needs, each after those it waits for; a pool has no report.

    Raises:
        UserError: a file of cells is missing or damaged.
    """
    jobs = {job.address: job for job in jobs_of_cells(study)}
    if POOLS in study.parts:
        return [*jobs.values()]
    report = f"{pipeline_of(study).as_posix()}:report"
    return [*jobs.values(), Job(report, frozenset(jobs))]


def jobs_of_cells(folder: Path) -> list[Job]:
    """The stages of a study's or a pool's cells, each after those it waits for; see `jobs_of`."""
    cells = _read(folder)
    jobs: dict[str, Job] = {}
    for dataset in dict.fromkeys(cell.dataset for cell in cells.cells.values()):
        owner = folder if cells.datasets else folder.parent / POOLS / dataset
        pool = cells if cells.datasets else _read(owner)
        file = pipeline_of(owner).as_posix()
        prepare = f"{file}:prepare@{dataset}"
        jobs[prepare] = Job(prepare)
        for key, cell in cells.cells.items():
            if cell.dataset != dataset:
                continue
            first = _trained_before(cell.starts_from, pool, file, prepare, jobs)
            train, evaluate = f"{file}:train@{key}", f"{file}:evaluate@{key}"
            jobs[train] = Job(train, frozenset({prepare, first}))
            jobs[evaluate] = Job(evaluate, frozenset({train}))
    return list(jobs.values())


def behaviour_stages(jobs: Iterable[Job]) -> list[str]:
    """List the stages that write what the code computes for the entries of these."""
    return list(dict.fromkeys(f"{job.file}:behaviour" for job in jobs if job.kind != "report"))


def write_pipelines_of(jobs: Iterable[Job]) -> None:
    """Write the ``dvc.yaml`` of every stage, where it is missing or not as it should be."""
    for file in {Path(job.file) for job in jobs} - {Path("dvc.yaml")}:
        write_pipeline(file.parent, _read(file.parent))


def _read(folder: Path) -> Cells:
    path = folder / "cells.yaml"
    return parse(Cells, read_yaml(path), str(path))


def _trained_before(
    starts_from: str, pool: Cells, file: str, prepare: str, jobs: dict[str, Job]
) -> str:
    """The address of the stage that writes what a run starts from; adds it, and its own."""
    path = Path(starts_from)
    if path.parent == PIVOTS:
        address = f"{file}:pretrain@{path.stem}"
        jobs[address] = Job(address, frozenset({prepare}))
    elif path.parent == ASSISTANTS:
        address = f"{file}:assist@{path.stem}"
        before = pool.assistants[path.stem].starts_from
        first = _trained_before(before, pool, file, prepare, jobs)
        jobs[address] = Job(address, frozenset({prepare, first}))
    else:
        return prepare
    return address


def find_jobs(jobs: Sequence[Job], targets: Iterable[str]) -> list[Job]:
    """The stages of names (``train@KEY``, ``report``); a bare KEY stands for its evaluation.

    Raises:
        UserError: there is no such stage.
    """
    by_stage = {job.stage: job for job in jobs}
    found = []
    for target in targets:
        job = by_stage.get(target) or by_stage.get(f"evaluate@{target}")
        if job is None:
            some = one_line(", ".join(list(by_stage)[:6]))
            raise UserError(f"there is no stage '{one_line(target)}' (there are {some}, ...)")
        found.append(job)
    return found


def ends_of(jobs: Iterable[Job]) -> list[Job]:
    """The stages that no other waits for: a study's report, or what a pool evaluates."""
    listed = list(jobs)
    awaited = frozenset[str]().union(*(job.after for job in listed))
    return [job for job in listed if job.address not in awaited]


def with_all_before(named: Iterable[Job], jobs: Iterable[Job]) -> list[Job]:
    """Stages and everything they wait for, in the order of ``jobs``."""
    by_address = {job.address: job for job in jobs}
    wanted: set[str] = set()
    for job in named:
        wanted |= _new_with(job, by_address, wanted)
    return [job for job in by_address.values() if job.address in wanted]


def in_turn(named: Iterable[Job], jobs: Iterable[Job]) -> list[Job]:
    """Stages in the order they are named, each behind everything it waits for, and once.

    ``jobs`` has each behind those it waits for, as `jobs_of` gives them.
    """
    by_address = {job.address: job for job in jobs}
    places = {address: place for place, address in enumerate(by_address)}
    found: dict[str, Job] = {}
    for job in named:
        for address in sorted(_new_with(job, by_address, found), key=places.__getitem__):
            found[address] = by_address[address]
    return list(found.values())


def _new_with(job: Job, by_address: Mapping[str, Job], known: Container[str]) -> set[str]:
    """The addresses of a stage and everything it waits for, without those that are known; what
    those wait for is known, too.
    """
    new: set[str] = set()
    waiting = [job.address]
    while waiting:
        address = waiting.pop()
        if address not in new and address not in known:
            new.add(address)
            waiting += by_address[address].after
    return new
