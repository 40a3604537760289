"""Which stages a study consists of, and in what order they can run."""

from __future__ import annotations

from pathlib import Path

import pytest

from orc_repro.cells import load_study
from orc_repro.errors import UserError
from orc_repro.stages.jobs import (
    Job,
    behaviour_stages,
    ends_of,
    find_jobs,
    in_turn,
    jobs_of,
    with_all_before,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def by_stage(jobs: list[Job]) -> dict[str, Job]:
    return {job.stage: job for job in jobs}


def test_a_study_with_cells_of_its_own_has_its_stages_in_the_root_pipeline() -> None:
    jobs = jobs_of(Path("studies/default"))
    assert len(jobs) == 1 + 1 + 9 + 9 + 1
    assert {job.address.partition(":")[0] for job in jobs} == {"dvc.yaml"}
    stages = by_stage(jobs)
    assert stages["prepare@digits"].after == frozenset()
    assert stages["train@digits-r20-r8-ce-s1"].after == {"dvc.yaml:prepare@digits"}
    assert stages["train@digits-r20-r8-orc-s1"].after == {
        "dvc.yaml:prepare@digits",
        "dvc.yaml:pretrain@digits-resnet20-digits-s0",
    }
    assert stages["evaluate@digits-r20-r8-orc-s1"].after == {"dvc.yaml:train@digits-r20-r8-orc-s1"}
    assert stages["report"].after == {job.address for job in jobs[:-1]}


def test_a_table_takes_its_stages_from_the_pool_and_only_those_it_needs() -> None:
    jobs = jobs_of(Path("studies/table01_cifar10"))
    assert jobs[-1].address == "studies/table01_cifar10/dvc.yaml:report"
    assert {job.address.partition(":")[0] for job in jobs[:-1]} == {
        "studies/pools/cifar10/dvc.yaml"
    }
    stages = by_stage(jobs)
    kinds = [job.kind for job in jobs]
    # Two assistants in each chain (ResNet20, ResNet14): takd, and dgkd with dgkd-drop.
    assert (kinds.count("pretrain"), kinds.count("assist")) == (1, 4)
    assert kinds.count("train") == kinds.count("evaluate") == 8 * 3
    chain = "assist@cifar10-r26-r8-takd-resnet14-cifar10-dgkd-s0"
    first = "assist@cifar10-r26-r8-takd-resnet20-cifar10-dgkd-s0"
    pool = "studies/pools/cifar10/dvc.yaml"
    assert f"{pool}:{first}" in stages[chain].after
    assert f"{pool}:{chain}" in stages["train@cifar10-r26-r8-takd-s2"].after


def test_the_stages_of_a_table_depend_on_the_behaviour_of_its_pool() -> None:
    jobs = jobs_of(Path("studies/table01_cifar10"))
    assert behaviour_stages(jobs) == ["studies/pools/cifar10/dvc.yaml:behaviour"]
    assert behaviour_stages(jobs_of(Path("studies/default"))) == ["dvc.yaml:behaviour"]


def test_every_stage_waits_only_for_stages_that_are_there_and_come_first() -> None:
    for path in sorted(Path("studies").glob("*/study.yaml")):
        seen: set[str] = set()
        for job in jobs_of(path.parent):
            assert job.after <= seen, job.address
            assert job.address not in seen
            seen.add(job.address)


def test_a_stage_brings_what_it_needs_and_a_bare_key_means_its_evaluation() -> None:
    jobs = jobs_of(Path("studies/default"))
    (one,) = find_jobs(jobs, ["digits-r20-r8-kd-s2"])
    assert one.stage == "evaluate@digits-r20-r8-kd-s2"
    assert [job.kind for job in with_all_before([one], jobs)] == [
        "prepare",
        "pretrain",
        "train",
        "evaluate",
    ]
    with pytest.raises(UserError, match="there is no stage 'train@nobody'"):
        find_jobs(jobs, ["report", "train@nobody"])


def test_stages_in_turn_are_as_named_each_once_and_behind_what_it_waits_for() -> None:
    jobs = jobs_of(Path("studies/default"))
    wanted = ["kd-s2", "ce-s0", "kd-s2"]
    named = find_jobs(jobs, [f"digits-r20-r8-{cell}" for cell in wanted])
    assert [job.stage for job in in_turn(named, iter(jobs))] == [
        "prepare@digits",
        "pretrain@digits-resnet20-digits-s0",
        "train@digits-r20-r8-kd-s2",
        "evaluate@digits-r20-r8-kd-s2",
        "train@digits-r20-r8-ce-s0",
        "evaluate@digits-r20-r8-ce-s0",
    ]


def test_a_pool_has_no_report_and_ends_with_what_it_evaluates() -> None:
    jobs = jobs_of(Path("studies/pools/cifar10-3k"))
    ends = ends_of(jobs)
    assert {job.kind for job in ends} == {"evaluate"}
    assert len(ends) == len(load_study(Path("studies/pools/cifar10-3k")).cells.cells)
    assert with_all_before(ends, jobs) == jobs
    (report,) = ends_of(jobs_of(Path("studies/default")))
    assert report.stage == "report"
