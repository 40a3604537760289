"""The UI's server ends with the command that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from orc_repro.interruption import RUNNER
from orc_repro.tracking import ui

SERVER = """
import pathlib, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(worker.pid))
sys.exit(int(sys.argv[2])) if len(sys.argv) > 2 else time.sleep(600)
"""


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def at_work(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def command() -> Iterator[subprocess.Popen[bytes]]:
    """What stands for ``orc-repro ui``."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def keeper(command: subprocess.Popen[bytes], *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", ui.__name__, sys.executable, "-c", SERVER, *words],
        env=os.environ | {RUNNER: str(command.pid)},
        start_new_session=True,
    )


@pytest.mark.parametrize("how", ["command is killed", "keeper is told to end"])
def test_no_process_of_the_server_is_left(
    command: subprocess.Popen[bytes], tmp_path: Path, how: str
) -> None:
    kept = keeper(command, str(tmp_path / "worker"))
    until(lambda: (tmp_path / "worker").exists() and (tmp_path / "worker").read_text() != "")
    worker = int((tmp_path / "worker").read_text())
    children = [child.pid for child in psutil.Process(kept.pid).children(recursive=True)]
    assert worker in children and all(map(at_work, children))
    if how == "command is killed":
        command.send_signal(signal.SIGKILL)
    else:
        kept.terminate()
    assert kept.wait(timeout=60) == 0
    until(lambda: not any(map(at_work, children)))


def test_a_server_that_ends_by_itself_leaves_its_exit_code(
    command: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    kept = keeper(command, str(tmp_path / "worker"), "3")
    assert kept.wait(timeout=60) == 3
    until(lambda: not at_work(int((tmp_path / "worker").read_text())))
