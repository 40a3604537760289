"""A thread that copies the run's files to MLflow, so that training never waits for a server."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path

import torch

from orc_repro.config import Tracking
from orc_repro.deadline import Unusable
from orc_repro.interruption import Interruption
from orc_repro.tracking.delivery import Delivery, deliver, undelivered
from orc_repro.tracking.store import open_client, store_uri

INTERVAL_S = 2.0
LONGEST_PAUSE_S = 60.0
LONG_RUN_S = 300.0  # from then on the machine is watched
GIVE_UP_S = 60.0
GIVE_UP_WHEN_STOPPED_S = 10.0


class Sender:
    """Delivers in the background from :meth:`start` to :meth:`stop`.

    A failed delivery is tried again later, after pauses that double up to a minute; nothing is
    lost, because the run's own files are what is sent.
    """

    def __init__(self, folder: Path, settings: Tracking) -> None:
        self._folder, self._settings, self._uri = folder, settings, store_uri()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlflow-sender", daemon=True)
        self._problem: str | None = None
        # Asked here: of the thread it would be the first, whichever this process computes on.
        computes = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        self._gpu = torch.cuda.current_device() if computes else 0

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self, stop: Interruption) -> str | None:
        """The run has ended: wait until the rest is delivered, a minute at most.

        Somebody who asked the process to stop waits ten seconds at most, and a store that is slow
        or hangs holds nobody longer.

        Returns:
            None, or a sentence saying what could not be delivered.
        """
        self._ended.set()
        began = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.1)
            patience = GIVE_UP_WHEN_STOPPED_S if stop.requested else GIVE_UP_S
            if time.monotonic() - began > patience:
                return undelivered(self._folder, f"it takes more than {patience:.0f} s")
        return self._problem

    def _run(self) -> None:
        pause, delivery = INTERVAL_S, None
        seconds, began = self._settings.system_metrics_every_seconds, time.monotonic()
        with ExitStack() as at_work:
            while not self._ended.wait(0 if delivery is None and pause == INTERVAL_S else pause):
                try:
                    if delivery is None:
                        client = open_client(self._uri)
                        delivery = Delivery(client, self._folder, self._settings)
                        delivery.reopen()
                    delivery.drain()
                    if seconds is not None and time.monotonic() - began >= LONG_RUN_S:
                        self._watch_the_machine(delivery.run_id, seconds, at_work)
                        seconds = None
                    pause = INTERVAL_S
                except Exception:  # whatever a store may raise, training goes on
                    pause = min(2 * pause, LONGEST_PAUSE_S)
        try:
            self._problem = deliver(self._folder, self._settings)
        except Unusable as error:
            self._problem = undelivered(self._folder, str(error))

    def _watch_the_machine(self, run_id: str, seconds: float, at_work: ExitStack) -> None:
        from orc_repro.tracking.machine import Monitor  # here: loads MLflow

        monitor = Monitor(
            self._gpu,
            run_id=run_id,
            sampling_interval=seconds,
            resume_logging=True,
            tracking_uri=self._uri,
        )
        monitor.start()
        at_work.callback(monitor.finish)
