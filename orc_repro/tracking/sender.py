"""A thread that copies the run's files to MLflow, so that training never waits for a server."""

from __future__ import annotations

import threading
from pathlib import Path

from orc_repro.tracking.delivery import Delivery
from orc_repro.tracking.store import open_client

INTERVAL_S = 2.0
LONGEST_PAUSE_S = 60.0
GIVE_UP_S = 60.0


class Sender:
    """Delivers in the background from :meth:`start` to :meth:`stop`.

    A failed delivery is tried again later, after pauses that double up to a minute; nothing is
    lost, because the run's own files are what is sent.
    """

    def __init__(self, folder: Path, uri: str, role_changes: bool) -> None:
        self._folder, self._uri, self._role_changes = folder, uri, role_changes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlflow-sender", daemon=True)
        self.problem: str | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the delivery under way; waits at most a minute."""
        self._stop.set()
        self._thread.join(GIVE_UP_S)

    def _run(self) -> None:
        pause, delivery = INTERVAL_S, None
        while True:
            try:
                if delivery is None:
                    client = open_client(self._uri)
                    delivery = Delivery(client, self._folder, self._role_changes)
                    delivery.reopen()
                delivery.drain()
                pause, self.problem = INTERVAL_S, None
            except Exception as error:  # whatever a store may raise, training goes on
                self.problem = " ".join(str(error).split())[:200]
                pause = min(2 * pause, LONGEST_PAUSE_S)
            if self._stop.wait(pause):
                return
