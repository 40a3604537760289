"""Stages side by side through DVC: order, failures, signals, what is told."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from orc_repro.stages import workers
from orc_repro.stages.jobs import Job
from orc_repro.stages.workers import Board, Running
from tests.helpers import CountedSet
from tests.project import command, copy_project, environment
from tests.reliability.machine import small, wait_until_nothing_runs

A, B, C = Job("p:a"), Job("p:train@b", frozenset({"p:a"})), Job("p:train@c")


class Ended:
    """What of a process a board looks at."""

    def __init__(self, returncode: int) -> None:
        self.returncode = returncode


def entry(job: Job, returncode: int = 0, seconds: float = 10.0) -> Running:
    process: Any = Ended(returncode)
    return Running(job, process, 0, Path("log"), time.monotonic() - seconds)


def test_a_stage_is_ready_when_all_before_it_are_done_and_only_once() -> None:
    board = Board([A, B, C])
    assert board.ready({}) == A
    assert board.ready({0: entry(A)}) == C
    assert board.ready({0: entry(A), 1: entry(C)}) is None
    board.finish(entry(A))
    assert board.ready({1: entry(C)}) == B
    board.finish(entry(B))
    board.finish(entry(C))
    assert board.ready({}) is None and board.done == {A.address, B.address, C.address}


def test_what_needs_a_stage_that_failed_is_never_ready_and_others_are() -> None:
    board = Board([A, B, C])
    board.finish(entry(A, returncode=255))
    assert board.ready({}) == C
    board.finish(entry(C))
    assert board.ready({}) is None
    assert board.failed == {A.address: Path("log")}


def test_the_time_left_is_what_stages_of_a_kind_took_shared_by_the_workers() -> None:
    board = Board([A, B, C])
    assert board.left_s(2) is None
    board.finish(entry(C, seconds=30.0))
    # b is of c's kind: 30 s; of a nothing is known but the mean of all: 30 s.
    assert board.left_s(1) == pytest.approx(60, abs=1)
    assert board.left_s(2) == pytest.approx(30, abs=1)


def test_what_is_done_is_put_together_once_for_all_stages() -> None:
    jobs = [Job(f"p:train@{i}", frozenset({"p:a"})) for i in range(100)]
    done = CountedSet({A.address})
    board = Board([A, *jobs], done=done, seconds={"train": [1.0]})
    assert board.ready({0: entry(jobs[0])}) == jobs[1] and done.unions == 1
    assert board.left_s(1) == 100 and done.unions == 2


def test_a_stage_that_another_dvc_keeps_out_is_tried_again_when_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "REST_S", 0.0)
    at_work = {7: "dvc repro"}
    monkeypatch.setattr(workers, "holders", lambda: at_work)
    board, kept_out = Board([A, C]), entry(A, returncode=255)
    kept_out.log = tmp_path / "log"
    kept_out.log.write_text("ERROR: 'x' is busy, it is being blocked by:\n  (PID 7): dvc repro\n")
    assert board.put_off(kept_out) and not board.failed
    assert board.ready({}) == C
    at_work.clear()
    assert board.ready({}) == A
    kept_out.log.write_text("ERROR: no space is left")
    assert not board.put_off(kept_out)
    board.finish(kept_out)
    assert board.failed and not board.resting


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    row = {"groups": ["small"], "seeds": [0], "methods": ["ce", "takd"]}
    project = copy_project(tmp_path_factory.mktemp("workers") / "project", small(), row)
    command(project, "orc_repro", "plan")
    command(project, "dvc", "init", "-q", "--no-scm")
    return project


def run(project: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "orc_repro", "run", *words],
        cwd=project,
        env=environment(project) | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_signal_ends_all_workers_and_the_same_command_goes_on(project: Path) -> None:
    mark = uuid.uuid4().hex
    process = run(project, "--workers", "2", ORC_TEST=mark)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any("prepare@digits done in" in line for line in lines)
    time.sleep(2.5)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 143, said
    assert "stopped by SIGTERM with all it had started" in said
    wait_until_nothing_runs(mark)

    (project / ".dvc/tmp/rwlock").write_bytes(b"")  # as a DVC that is stopped while it writes
    process = run(project, "--workers", "2")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    # Data, a pivot, an assistant, two cells trained and evaluated, a report.
    assert re.findall(r"\[(\d)/8\]", said) == [str(i) for i in range(1, 9)]
    assert " left\n" in said
    assert (project / "reports/table.md").read_text().count("| resnet8 |") >= 2
    status = command(project, "dvc", "status", "dvc.yaml").stdout
    assert "up to date" in status


def test_one_failure_stops_what_needs_it_and_is_one_sentence(project: Path) -> None:
    log = project / ".orc/logs"
    cell = "digits-small-ce-s0"
    (project / f"results/default/trained/{cell}.json").unlink()
    process = run(project, "--workers", "1", cell, ORC_DEVICE="tpu")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 2
    last = said.strip().splitlines()[-1]
    assert last.startswith("orc-repro: 1 of 3 stages failed, 1 that need them were not run; the")
    assert f"dvc.yaml:train@{cell}, whose last words are: orc-repro: " in last and "tpu" in last
    assert list(log.glob(f"*train@{cell}.log"))
