"""When a run saves and when it stops: for all of its processes, after the same step."""

from __future__ import annotations

import signal
import time
from typing import Protocol

from orc_repro.errors import Interrupted
from orc_repro.interruption import Interruption
from orc_repro.processes.group import Processes

LOOK_S = 1.0
MOST_STEPS = 64


class Dues(Protocol):
    """Knows when another checkpoint is due."""

    @property
    def due(self) -> bool:
        """Now."""
        ...


class Agreement:
    """One process looks after every step. Several ask each other about once a second, on the host:
    how many steps that is, the leader says each time.
    """

    def __init__(self, processes: Processes, checkpoints: Dues, stop: Interruption) -> None:
        self._processes, self._checkpoints, self._stop = processes, checkpoints, stop
        self._agreed: signal.Signals | None = None
        self._steps = self._next = self._asked_step = 0
        self._asked = time.monotonic()

    def after_step(self) -> bool:
        """Whether to save now: a checkpoint is due, or some process was asked to stop."""
        if self._processes.count == 1:
            return self.stops() or self._checkpoints.due
        self._steps += 1
        return self._steps >= self._next and self._ask()

    def stops(self) -> bool:
        """Whether to stop now; several processes ask each other."""
        if self._processes.count == 1:
            self._agreed = self._stop.requested
        else:
            self._ask()
        return self._agreed is not None

    def stop_if_agreed(self, where: str) -> None:
        """Raise :class:`Interrupted` if a stop was agreed on; ``where`` completes the sentence."""
        if self._agreed is not None:
            raise Interrupted(self._agreed, f"stopped by {self._agreed.name} {where}")

    def _ask(self) -> bool:
        asked = self._stop.requested
        due = self._processes.leads and self._checkpoints.due
        pause = self._pause() if self._processes.leads else 0
        number, due_now, pause = self._processes.highest([asked or 0, int(due), pause])
        if number:
            self._agreed = signal.Signals(number)
        self._next = self._steps + pause
        return bool(number or due_now)

    def _pause(self) -> int:
        """How many steps take about :data:`LOOK_S`."""
        now, made = time.monotonic(), self._steps - self._asked_step
        pause = made * LOOK_S / max(now - self._asked, 1e-6)
        self._asked, self._asked_step = now, self._steps
        return max(1, min(MOST_STEPS, round(pause)))
