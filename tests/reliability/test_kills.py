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
    PIVOT,
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

KILLS = int(os.environ.get("ORC_KILLS", "0"))
# How often each is killed at least: 20 times, or its share of a soak.
SHARES = {what: KILLS / 3.3 or 10 for what in METHODS} | {"pivot": KILLS / 33 or 4}
WHERE = ("sync", "rename", "renamed", "log")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("kills") / "project")


def undisturbed(project: Path, words: tuple[str, str]) -> dict[str, bytes]:
    """What an undisturbed run writes."""
    command(project, "orc_repro", *words, "--restart")
    found = outputs(project)
    assert len([name for name in found if words[1] in name]) >= 2  # weights and history at least
    return found


def forget(project: Path, key: str) -> None:
    shutil.rmtree(run_folder(project, key))
    for name in outputs(project):
        if key in name:
            (project / name).unlink()


def survive(project: Path, words: tuple[str, str], draw: random.Random) -> dict[str, int]:
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
            most = 2 if where == "log" and "-orc-" not in words[1] else 24
            when = str(draw.randint(1, most))
            process = start(project, where, when, *words, module="tests.reliability.die")
            said, _ = process.communicate(timeout=300)
            if process.returncode == 0:
                return died
            assert process.returncode == -9, said
            died[where] += 1
        else:
            process = start(project, *words)
            on = wait_for_progress(process, project, words[1])
            time.sleep(draw.uniform(0, 0.1))
            if not on or process.poll() is not None:
                said, _ = process.communicate()
                assert process.returncode == 0, said
                return died
            kill(process)
            died["between"] += 1


@pytest.mark.parametrize(("what", "kills"), SHARES.items())
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(
    project: Path, what: str, kills: float
) -> None:
    words = ("pretrain", PIVOT) if what == "pivot" else ("train", cell_of(what))
    expected = undisturbed(project, words)
    died: dict[str, int] = {}
    rounds = 0
    while sum(died.values()) < kills or not all(died.get(w) for w in (*WHERE, "between")):
        forget(project, words[1])
        assert newest_checkpoint(project, words[1]) == ""
        for where, times in survive(project, words, random.Random(f"{what} {rounds}")).items():
            died[where] = died.get(where, 0) + times
        rounds += 1
        found = outputs(project)
        assert found.keys() == expected.keys()
        assert [name for name in found if found[name] != expected[name]] == []
        assert len(list(run_folder(project, words[1]).glob("checkpoint-*"))) == 1
    print(f"\n{what}: {sum(died.values())} kills in {rounds} runs: {died}")
