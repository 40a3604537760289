"""Two processes on one run, started as users start them; one is killed, all are asked to stop."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
import uuid
from pathlib import Path

import psutil
import pytest

from tests.project import command
from tests.reliability.machine import (
    cell_of,
    make_project,
    newest_checkpoint,
    outputs,
    run_folder,
    running,
    set_parameter,
    start,
    wait_for_progress,
    wait_until,
    wait_until_nothing_runs,
)

CELL = cell_of("orc")
LAUNCHER = ("--nproc-per-node=2", "--max-restarts=2", "-m", "orc_repro", "train", CELL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("processes") / "project")
    set_parameter(project, "train", "processes", 2)
    return project


@pytest.fixture(scope="module")
def expected(project: Path) -> dict[str, bytes]:
    command(project, "orc_repro", "train", CELL)
    return outputs(project)


@pytest.fixture(autouse=True)
def begin_anew(project: Path, expected: dict[str, bytes]) -> None:
    set_parameter(project, "train", "max_restarts", 2)
    (run_folder(project, CELL) / "outcome.json").unlink(missing_ok=True)
    for path in run_folder(project, CELL).glob("checkpoint-*"):
        path.unlink()
    for name in expected:
        if CELL in name:
            (project / name).unlink(missing_ok=True)


def members(mark: str) -> dict[int, psutil.Process]:
    """The processes that train, by rank."""
    found = {}
    for process in running(mark):
        try:
            rank = process.environ().get("RANK")
        except psutil.Error:
            continue
        if rank is not None:
            found[int(rank)] = process
    return found


def started(project: Path, mark: str, *words: str, module: str) -> subprocess.Popen[str]:
    return start(project, *words, module=module, ORC_TEST=mark)


def kill_one(process: subprocess.Popen[str], project: Path, mark: str, rank: int) -> None:
    """At some moment after the run has made progress."""
    assert wait_for_progress(process, project, CELL)
    time.sleep(random.Random(rank).uniform(0, 0.5))
    members(mark)[rank].kill()


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("by_hand", [False, True])
def test_one_that_is_killed_costs_nothing(
    project: Path, expected: dict[str, bytes], rank: int, by_hand: bool
) -> None:
    """Started again by our launcher or by torchrun; the end is that of two undisturbed."""
    mark = uuid.uuid4().hex
    if by_hand:
        process = started(project, mark, *LAUNCHER, module="torch.distributed.run")
    else:
        process = started(project, mark, "train", CELL, module="orc_repro")
    kill_one(process, project, mark, rank)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert outputs(project) == expected
    wait_until_nothing_runs(mark)


def test_a_restart_of_all_goes_on_where_a_run_was_that_began_anew(
    project: Path, expected: dict[str, bytes]
) -> None:
    mark = uuid.uuid4().hex
    process = started(project, mark, "train", CELL, "--restart", module="orc_repro")
    assert wait_for_progress(process, project, CELL)
    assert wait_until(lambda: newest_checkpoint(project, CELL) > "checkpoint-000001", process)
    members(mark)[1].kill()
    assert wait_until(lambda: len(members(mark)) == 0, process)
    began = time.monotonic()
    while time.monotonic() - began < 2 and process.poll() is None:
        assert newest_checkpoint(project, CELL) > "checkpoint-000001"
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert "process 1 of 2 ended with SIGKILL" in said and "all start again from" in said
    assert outputs(project) == expected


def test_an_error_of_its_own_is_met_once(project: Path) -> None:
    mark = uuid.uuid4().hex
    process = started(project, mark, "train", CELL, "--processes", "3", module="orc_repro")
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 2
    assert said.count("a batch of 32 images cannot be divided among 3 processes") == 3
    assert "Traceback" not in said
    wait_until_nothing_runs(mark)


def test_without_restarts_the_other_says_one_sentence(
    project: Path, expected: dict[str, bytes]
) -> None:
    set_parameter(project, "train", "max_restarts", 0)
    mark = uuid.uuid4().hex
    process = started(project, mark, "train", CELL, module="orc_repro")
    kill_one(process, project, mark, rank=1)
    killed = time.monotonic()
    said, _ = process.communicate(timeout=300)
    assert time.monotonic() - killed < 200
    assert process.returncode == 2
    assert "Traceback" not in said
    sentences = [line for line in said.splitlines() if line.startswith("orc-repro:")]
    others = [s for s in sentences if "another process of this run is gone" in s or "SIGTERM" in s]
    assert len(others) == 1, said
    assert "process 1 of 2 ended with SIGKILL, and the others with it" in sentences[-1]
    wait_until_nothing_runs(mark)
    command(project, "orc_repro", "train", CELL)
    assert outputs(project) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_in_order(
    project: Path, expected: dict[str, bytes], number: signal.Signals
) -> None:
    mark = uuid.uuid4().hex
    process = started(project, mark, "train", CELL, module="orc_repro")
    assert wait_for_progress(process, project, CELL)
    process.send_signal(number)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    assert f"stopped by {number.name} with all its processes" in said
    wait_until_nothing_runs(mark)
    assert newest_checkpoint(project, CELL)
    command(project, "orc_repro", "train", CELL)
    assert outputs(project) == expected


def test_without_their_launcher_they_stop(project: Path, expected: dict[str, bytes]) -> None:
    mark = uuid.uuid4().hex
    process = started(project, mark, "train", CELL, module="orc_repro")
    assert wait_for_progress(process, project, CELL)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until_nothing_runs(mark)
    command(project, "orc_repro", "train", CELL)
    assert outputs(project) == expected


def test_a_run_of_two_goes_on_with_one_and_says_what_is_no_longer_the_same(
    project: Path, expected: dict[str, bytes]
) -> None:
    mark = uuid.uuid4().hex
    process = started(project, mark, "train", CELL, module="orc_repro")
    assert wait_for_progress(process, project, CELL)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    done = command(project, "orc_repro", "train", CELL, "--processes", "1")
    assert "begun by 2 processes, this goes on with 1, at the same step" in done.stderr
    assert outputs(project).keys() == expected.keys()
    summary = json.loads((project / f"results/default/trained/{CELL}.json").read_text())
    assert summary["processes"] == [2, 1]
    assert wait_until(lambda: not running(mark), process)
