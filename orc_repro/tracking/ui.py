"""The MLflow UI on the run store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from orc_repro.errors import UserError
from orc_repro.tracking.store import embedded_uri, open_client, shown, store_uri

HOST = "127.0.0.1"


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
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    server = subprocess.Popen([*command, "--host", HOST, "--port", str(port)], env=os.environ)
    try:
        server.wait()
    finally:  # a signal may have come to this process alone
        server.terminate()
        server.wait()
    if server.returncode:
        raise UserError(f"the MLflow UI ended with code {server.returncode}")


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError:
            return False
    return True
