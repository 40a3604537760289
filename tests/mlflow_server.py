"""An MLflow server for tests: answers before it is used, says why if it never does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from benchmarks.postgres import free_port
from orc_repro.tracking.store import SETTINGS
from tests.project import environment

PATIENCE_S = 150.0  # for one attempt on a machine that others use too; ten seconds otherwise
ATTEMPTS = 3
# Its "/health" answers before the store is open, for which clients do not wait as long.
FIRST = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"


class Server:
    """``mlflow server`` on a port of its own; can be killed and started again there.

    ``store`` is the URI of its database; without one it keeps an SQLite file in ``folder``.
    """

    def __init__(self, folder: Path, store: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._store = store or f"sqlite:///{folder / 'server.db'}"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Return once it answers.

        Raises:
            AssertionError: it did not in any attempt; with the last lines that it printed.
        """
        for _ in range(ATTEMPTS):
            self._process = self._begin()
            if self._answers_in_time(self._process):
                return
            self.kill()
        raise AssertionError("the MLflow server does not start: " + self._log.read_text()[-3000:])

    def kill(self) -> None:
        """At once, as a machine that loses power."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In order."""
        self._end(signal.SIGTERM)

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    def _begin(self) -> subprocess.Popen[bytes]:
        where = ["--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
        artifacts = ["--artifacts-destination", str(self._folder / "artifacts")]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server",
                 "--backend-store-uri", self._store, *where, *artifacts],
                cwd=self._folder, env=environment(self._folder) | SETTINGS,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def _answers_in_time(self, process: subprocess.Popen[bytes]) -> bool:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        end = time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < end:
            try:
                direct.open(self.address + FIRST, timeout=60)
                return True
            except OSError:
                time.sleep(0.2)
        return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(self._process.pid, how)
        self._process.wait()
        self._process = None
