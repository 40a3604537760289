"""One process at a time has a stage, and what a dead one had is free."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from orc_repro.queue import claims
from orc_repro.queue.claims import Claim, is_claimed, take

STAGE = "studies/pools/x/dvc.yaml:train@cell"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path))
    return tmp_path / "claims" / "studies_pools_x_dvc.yaml_train@cell"


def held_by(folder: Path, number: int, **changes: object) -> Path:
    """A claim as another process left it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:06d}"
    path.write_text(json.dumps(claims._me().model_dump() | changes))
    return path


def test_a_claim_keeps_others_out_until_it_is_given_back() -> None:
    first = take(STAGE)
    assert first is not None and take(STAGE) is None and is_claimed(STAGE)
    with first:
        assert take(STAGE) is None
        other = take(STAGE.replace("cell", "other"))
        assert other is not None
    assert not is_claimed(STAGE)
    assert take(STAGE) is not None


def test_of_many_that_ask_at_once_one_gets_it() -> None:
    for _ in range(5):
        got: list[Claim] = []
        start = threading.Barrier(8)

        def ask(start: threading.Barrier = start, got: list[Claim] = got) -> None:
            start.wait()
            claim = take(STAGE)
            if claim is not None:
                got.append(claim)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1
        with got[0]:
            pass


def test_the_claim_of_a_process_that_is_gone_from_this_machine_is_free(folder: Path) -> None:
    held_by(folder, 1, began=1.0)  # another process had this number then
    assert not is_claimed(STAGE)
    assert take(STAGE) is not None
    assert [path.name for path in folder.glob("0*")] == ["000002"]


def test_the_claim_of_a_process_that_has_ended_and_is_not_buried_is_free(folder: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as worker:
        process = psutil.Process(worker.pid)
        held_by(folder, 1, process=process.pid, began=process.create_time())
        assert is_claimed(STAGE)
        worker.kill()
        until = time.monotonic() + 60
        while process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until
        assert not is_claimed(STAGE)


def test_a_process_that_is_killed_before_it_holds_a_claim_leaves_none(folder: Path) -> None:
    code = "import os; from orc_repro.queue import claims\n"
    code += "claims._me = lambda: os.kill(os.getpid(), 9)\n"
    code += f"claims.take({STAGE!r})"
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert not is_claimed(STAGE)
    assert take(STAGE) is not None


def test_a_claim_outlives_a_step_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    created, claim = psutil.Process().create_time(), take(STAGE)
    assert claim is not None
    with claim:
        # What psutil says of a process depends on the time of day that the machine began at.
        monkeypatch.setattr(psutil.Process, "create_time", lambda _: created + 3600)
        assert take(STAGE) is None


def test_another_machines_claim_holds_until_it_was_not_touched_for_long(folder: Path) -> None:
    path = held_by(folder, 1, machine="elsewhere", process=1)
    assert take(STAGE) is None
    now = path.stat().st_mtime
    os.utime(path, (now, now - claims.EXPIRES_AFTER_S + 60))
    assert take(STAGE) is None
    os.utime(path, (now, now - claims.EXPIRES_AFTER_S - 60))
    assert take(STAGE) is not None


def test_a_claim_that_nobody_can_read_holds_until_it_is_old(folder: Path) -> None:
    path = held_by(folder, 3)
    path.write_text("{")
    assert take(STAGE) is None
    os.utime(path, (1, 1))
    assert take(STAGE) is not None


def test_whoever_lost_a_claim_while_asleep_is_asked_to_stop(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    monkeypatch.setattr(claims, "TOUCHED_EVERY_S", 0.01)
    monkeypatch.setattr(os, "kill", lambda process, number: asked.set())
    claim = take(STAGE)
    assert claim is not None
    with claim:
        held_by(folder, 2, machine="elsewhere")
        assert asked.wait(10)
