"""The MLflow UI on the run store.

MLflow's server is several processes, which outlive whoever started them. So a keeper stands between
them and the command: it ends all of them when the command is gone, however that ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from orc_repro.addresses import shown
from orc_repro.errors import UserError
from orc_repro.interruption import RUNNER, Interruption, watched_pids
from orc_repro.tracking.store import embedded_uri, open_client, store_uri

HOST = "127.0.0.1"
LOOK_S = 0.2
ENDING_S = 10.0


def serve(port: int) -> None:
    """Serve the embedded store on the loopback address until interrupted.

    Raises:
        UserError: another server holds the runs already, or this one could not start.
    """
    uri = store_uri()
    if uri != embedded_uri():
        raise UserError(f"the runs are on {shown(uri)}; open that address instead")
    if not _is_free(port):  # MLflow would say so, and end as if all were well
        raise UserError(f"port {port} of this machine is in use; --port names another")
    open_client(uri)
    print(f"MLflow UI on http://{HOST}:{port} (Ctrl-C ends it)", flush=True)
    server = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    keeper = subprocess.Popen(
        [sys.executable, "-m", __name__, *server, "--host", HOST, "--port", str(port)],
        env=os.environ | {RUNNER: ",".join(map(str, [*watched_pids(), os.getpid()]))},
        start_new_session=True,  # a signal of the terminal comes to this process alone
    )
    try:
        keeper.wait()
    finally:
        keeper.terminate()
        keeper.wait()
    if keeper.returncode:
        raise UserError(f"the MLflow UI ended with code {keeper.returncode}")


def keep(command: Sequence[str]) -> int:
    """Run a server until it ends, a signal comes, or the processes that asked for it are gone.

    Returns:
        the server's exit code; 0 if it was ended here.
    """
    with Interruption() as stop:
        server = subprocess.Popen(command, start_new_session=True)
        while server.poll() is None and not stop.requested:
            time.sleep(LOOK_S)
        code = server.returncode
        _end(server)
    return code or 0


def _end(server: subprocess.Popen[bytes]) -> None:
    """End a server with all its processes, by force if need be."""
    if not hasattr(os, "killpg"):  # on Windows
        server.terminate()
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(server.pid, number)
            server.wait(ENDING_S)


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:]))
