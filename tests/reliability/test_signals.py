"""A signal ends a run in order, to be continued; and wherever it went, nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from orc_repro.tracking.outcome import read_outcome
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
    wait_until_nothing_runs,
)

CELL = cell_of("orc")
STAGE = f"train@{CELL}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("signals") / "project")
    command(project, "dvc", "init", "-q", "--no-scm")
    command(project, "dvc", "repro", "prepare@digits")
    command(project, "dvc", "repro", "pretrain@digits-resnet14-digits-s0")
    return project


@pytest.fixture(scope="module")
def expected(project: Path) -> dict[str, bytes]:
    command(project, "orc_repro", "train", CELL)
    return outputs(project)


@pytest.fixture(autouse=True)
def begin_anew(project: Path, expected: dict[str, bytes]) -> None:
    set_parameter(project, "checkpoints", "every_seconds", 0)
    (run_folder(project, CELL) / "outcome.json").unlink(missing_ok=True)
    for path in run_folder(project, CELL).glob("checkpoint-*"):
        path.unlink()
    for name in expected:
        if CELL in name:
            (project / name).unlink(missing_ok=True)


def assert_goes_on_to_the_same_bits(project: Path, expected: dict[str, bytes]) -> None:
    assert newest_checkpoint(project, CELL)  # else nothing would be continued
    set_parameter(project, "checkpoints", "every_seconds", 60)
    done = command(project, "orc_repro", "train", CELL)
    assert "epoch 3/3" in done.stderr
    assert outputs(project) == expected


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_exits_with_its_code(
    project: Path, expected: dict[str, bytes], number: signal.Signals, code: int
) -> None:
    process = start(project, "train", CELL)
    assert wait_for_progress(process, project, CELL)
    process.send_signal(number)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == code
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"orc-repro: stopped by {number.name} ") and "Traceback" not in said
    ended = read_outcome(run_folder(project, CELL))
    assert ended is not None and ended.status == "KILLED" and number.name in ended.reason
    assert_goes_on_to_the_same_bits(project, expected)


def test_a_second_signal_stops_at_once(project: Path, expected: dict[str, bytes]) -> None:
    process = start(project, "train", CELL, module="tests.reliability.slow")
    assert process.stdout is not None
    while "validating" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # one request that came on two ways
    time.sleep(5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130  # it would validate for ten minutes
    process.communicate()
    assert_goes_on_to_the_same_bits(project, expected)


@pytest.mark.parametrize(
    ("number", "to_group"),
    [
        (signal.SIGTERM, False),
        (signal.SIGKILL, False),
        (signal.SIGTERM, True),
        (signal.SIGINT, True),
    ],
)
def test_whatever_ends_dvc_ends_training(
    project: Path, expected: dict[str, bytes], number: signal.Signals, to_group: bool
) -> None:
    mark = uuid.uuid4().hex
    process = start(project, "repro", "-s", STAGE, module="dvc", ORC_TEST=mark)
    assert wait_for_progress(process, project, CELL)
    if to_group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    wait_until_nothing_runs(mark)
    process.communicate()
    assert process.returncode != 0
    assert_goes_on_to_the_same_bits(project, expected)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_whatever_ends_the_runner_ends_dvc_and_training(
    project: Path, expected: dict[str, bytes], number: signal.Signals, code: int
) -> None:
    mark = uuid.uuid4().hex
    process = start(project, "run", STAGE, ORC_TEST=mark)
    assert wait_for_progress(process, project, CELL)
    process.send_signal(number)
    if number != signal.SIGKILL:
        said, _ = process.communicate(timeout=300)
        assert f"stopped by {number.name} with all it had started" in said
        assert running(mark) == []
    wait_until_nothing_runs(mark)
    assert process.wait() == code
    assert_goes_on_to_the_same_bits(project, expected)


def test_a_runner_that_a_shell_put_into_the_background_can_be_ended(
    project: Path, expected: dict[str, bytes]
) -> None:
    mark = uuid.uuid4().hex
    process = start(project, "run", STAGE, in_background=True, ORC_TEST=mark)
    assert wait_for_progress(process, project, CELL)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode == 143 and running(mark) == []
    assert_goes_on_to_the_same_bits(project, expected)


def test_a_run_whose_runner_is_gone_before_it_begins_stops_and_is_saved(
    project: Path, expected: dict[str, bytes]
) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    process = start(project, "train", CELL, ORC_RUN_PID=str(gone.pid))
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 143
    assert "stopped by SIGTERM after step 1 of 38 in epoch 1" in said
    assert_goes_on_to_the_same_bits(project, expected)


def test_the_runner_says_when_a_stage_fails_or_is_not_there(project: Path) -> None:
    nobody = command(project, "orc_repro", "run", "train@nobody", check=False)
    assert nobody.returncode == 2
    assert "there is no stage 'train@nobody' (there are prepare@digits, " in nobody.stderr

    failing = start(project, "run", STAGE, ORC_DEVICE="tpu")
    said, _ = failing.communicate(timeout=300)
    assert failing.returncode == 2
    assert "orc-repro: dvc repro ended with code 255" in said
