"""A DVC at work is stopped through its command, and another run waits for its turn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orc_repro.errors import Interrupted
from orc_repro.interruption import Interruption
from orc_repro.stages import dvc_runs
from orc_repro.stages.dvc_runs import end_in_order, turn, who_is_at_work
from tests.stages.test_dvc_locks import noted

DVC_LIKE = """
import os, subprocess, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
(folder / "writing").touch()
time.sleep(float(sys.argv[2]))  # as if it wrote its lock
(folder / "written").touch()
stage = os.environ | {"DVC_STAGE": "train@x"}
command = f"{sys.executable} -c 'import time; time.sleep(600)'; exit $?"
done = subprocess.run(["/bin/sh", "-c", command], env=stage)
(folder / "ended").write_text(str(done.returncode))
"""


def dvc_like(folder: Path, writes_s: float) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", DVC_LIKE, str(folder), str(writes_s)]
    process = subprocess.Popen(words, start_new_session=True)
    while not (folder / "writing").exists():
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("writes_s", [0.0, 2.0])
def test_a_dvc_that_writes_is_not_interrupted_and_its_next_command_is(
    tmp_path: Path, writes_s: float
) -> None:
    process = dvc_like(tmp_path, writes_s)
    end_in_order([process])
    assert (tmp_path / "written").exists() and process.returncode == 0
    assert int((tmp_path / "ended").read_text()) % 128 == signal.SIGTERM


def test_a_dvc_that_runs_nothing_and_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dvc_runs, "PATIENCE_S", 0.5)
    process = dvc_like(tmp_path, 600.0)
    end_in_order([process])
    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dvc_runs, "LOOK_S", 0.02)
    Path(".dvc/tmp").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("first", "second", "waits"), [(True, True, True), (False, True, True), (False, False, False)]
)
def test_a_run_that_has_to_be_alone_waits_and_is_waited_for(
    checkout: Path, capsys: pytest.CaptureFixture[str], first: bool, second: bool, waits: bool
) -> None:
    had_turn = threading.Event()

    def run() -> None:
        with turn(Interruption(), alone=second):
            had_turn.set()

    with turn(Interruption(), alone=first):
        other = threading.Thread(target=run)
        other.start()
        assert had_turn.wait(0.3) is not waits
    other.join(10)
    assert had_turn.is_set()
    assert ("waiting: another" in capsys.readouterr().err) is waits


def test_a_dvc_of_nobodys_is_waited_for_by_name(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen(["sleep", "600"]) as left:
        noted(checkout / ".dvc/tmp/rwlock", left.pid)
        assert f"process {left.pid} (dvc repro {left.pid}) is at work" in who_is_at_work()
        threading.Timer(0.3, left.kill).start()
        with turn(Interruption(), alone=True):
            assert left.poll() is not None
    assert f"waiting: process {left.pid}" in capsys.readouterr().err


def test_a_run_that_waits_can_be_stopped(checkout: Path) -> None:
    with turn(Interruption(), alone=True), Interruption() as stop:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(Interrupted), turn(stop, alone=True):
            pass
