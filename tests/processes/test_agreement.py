"""When a run saves and stops, of one process and of several."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from orc_repro.errors import Interrupted
from orc_repro.interruption import Interruption
from orc_repro.processes.agreement import MOST_STEPS, Agreement
from orc_repro.processes.group import ALONE, Processes
from tests.processes.together import expect, together


class Asked(Interruption):
    """Asked to stop when it is told to."""

    asked: signal.Signals | None = None

    @property
    def requested(self) -> signal.Signals | None:
        return self.asked


class Dues:
    """A checkpoint is due when it is told so."""

    due = False


def test_one_process_looks_after_every_step() -> None:
    stop, dues = Asked(), Dues()
    agreement = Agreement(ALONE, dues, stop)
    assert not agreement.after_step()
    dues.due = True
    assert agreement.after_step()
    agreement.stop_if_agreed("here")  # nobody asked
    stop.asked = signal.SIGTERM
    assert agreement.after_step()
    with pytest.raises(Interrupted, match="stopped by SIGTERM here"):
        agreement.stop_if_agreed("here")


def steps_until_told(processes: Processes, whom: int, step: int) -> dict[str, Any]:
    """One process is asked to stop after some step; when does each of them?"""
    stop = Asked()
    agreement = Agreement(processes, Dues(), stop)
    for i in range(1000):
        if i == step and processes.rank == whom:
            stop.asked = signal.SIGINT
        if agreement.after_step():
            try:
                agreement.stop_if_agreed(f"after step {i}")
            except Interrupted as stopped:
                return {"said": str(stopped), "code": stopped.exit_code, "step": i}
    return {}


@pytest.mark.parametrize("whom", [0, 1])
def test_whoever_is_asked_both_stop_after_the_same_step(whom: int) -> None:
    first, second = expect(together(2, steps_until_told, whom, 150))
    assert first == second
    assert first["code"] == 130 and first["said"].startswith("stopped by SIGINT after step")
    assert 150 <= first["step"] <= 150 + MOST_STEPS


def who_saves(processes: Processes) -> dict[str, Any]:
    """The leader's checkpoints are due; the others' are never looked at."""
    dues = Dues()
    agreement = Agreement(processes, dues, Asked())
    saved: list[int] = []
    for i in range(300):
        dues.due = processes.leads and i >= 100 and len(saved) < 2
        if agreement.after_step():
            saved.append(i)
    return {"saved": saved}


def test_all_save_when_the_leaders_checkpoint_is_due() -> None:
    first, second = expect(together(2, who_saves))
    assert first == second
    assert len(first["saved"]) == 2 and first["saved"][0] >= 100
