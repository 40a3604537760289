"""Killed at any instant, any number of times, a run ends with the bits of an undisturbed one.

``make soak`` does the same for hours: ``ORC_KILLS`` says how many kills there are to be at least.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest

from tests.project import command
from tests.reliability.machine import (
    METHODS,
    cell_of,
    kill,
    make_project,
    newest_checkpoint,
    outputs,
    run_folder,
    set_parameter,
    start,
    wait_for_progress,
)

KILLS = int(os.environ.get("ORC_KILLS", "20"))
WHERE = ("sync", "rename", "renamed", "log")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("kills") / "project")


def undisturbed(project: Path, cell: str) -> dict[str, bytes]:
    """What an undisturbed run writes."""
    command(project, "orc_repro", "train", cell)
    found = outputs(project)
    assert len([name for name in found if cell in name]) >= 4  # two weights, roles, history
    return found


def forget(project: Path, cell: str) -> None:
    shutil.rmtree(run_folder(project, cell))
    for name in outputs(project):
        if cell in name:
            (project / name).unlink()


def survive(project: Path, cell: str, draw: random.Random) -> dict[str, int]:
    """Kill a run again and again until it comes to its end; how often it died where."""
    died: dict[str, int] = dict.fromkeys((*WHERE, "between"), 0)
    lives = 0
    while True:
        lives += 1
        assert lives < 200, "it does not get on"
        # A checkpoint after every step, or so rarely that many steps are done again.
        set_parameter(project, "checkpoints", "every_seconds", draw.choice((0, 0, 0.05, 0.2)))
        if lives % 2:
            where = WHERE[lives // 2 % len(WHERE)]
            # Without role changes, the log is written to once an epoch.
            most = 2 if where == "log" and "-orc-" not in cell else 24
            process = start(
                project,
                *(where, str(draw.randint(1, most)), "train", cell),
                module="tests.reliability.die",
            )
            said, _ = process.communicate(timeout=300)
            if process.returncode == 0:
                return died
            assert process.returncode == -9, said
            died[where] += 1
        else:
            process = start(project, "train", cell)
            on = wait_for_progress(process, project, cell)
            time.sleep(draw.uniform(0, 0.1))
            if not on or process.poll() is not None:
                said, _ = process.communicate()
                assert process.returncode == 0, said
                return died
            kill(process)
            died["between"] += 1


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(
    project: Path, method: str
) -> None:
    cell = cell_of(method)
    expected = undisturbed(project, cell)
    died: dict[str, int] = {}
    rounds = 0
    while sum(died.values()) < KILLS / (len(METHODS) if KILLS > 20 else 1):
        forget(project, cell)
        assert newest_checkpoint(project, cell) == ""
        for where, times in survive(project, cell, random.Random(f"{method} {rounds}")).items():
            died[where] = died.get(where, 0) + times
        rounds += 1
        found = outputs(project)
        assert found.keys() == expected.keys()
        assert [name for name in found if found[name] != expected[name]] == []
        assert len(list(run_folder(project, cell).glob("checkpoint-*"))) == 1
    print(f"\n{method}: {sum(died.values())} kills in {rounds} runs: {died}")
    assert all(died[where] for where in (*WHERE, "between"))
