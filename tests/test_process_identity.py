"""A process is known again by its number and its start."""

from __future__ import annotations

import os
import subprocess
import time

import psutil
import pytest

from orc_repro import process_identity
from orc_repro.process_identity import is_at_work, start_of


def test_this_process_is_at_work_and_another_start_is_another_process() -> None:
    start = start_of(os.getpid())
    assert start is not None and is_at_work(os.getpid(), start)
    assert not is_at_work(os.getpid(), f"{start}0")
    created = psutil.Process().create_time()
    assert is_at_work(os.getpid(), created + 1)
    assert not is_at_work(os.getpid(), created + 60)


@pytest.mark.parametrize("known_by", ["boot", "time of day"])
def test_one_that_has_ended_and_is_not_asked_for_is_at_work_no_more(
    known_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if known_by == "time of day":
        monkeypatch.setattr(process_identity, "_since_boot", lambda _: None)
    with subprocess.Popen(["sleep", "600"]) as worker:
        start = start_of(worker.pid)
        assert start is not None and is_at_work(worker.pid, start)
        worker.kill()
        until = time.monotonic() + 60
        while psutil.Process(worker.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until
        assert not is_at_work(worker.pid, start) and start_of(worker.pid) is None
    assert start_of(worker.pid) is None
