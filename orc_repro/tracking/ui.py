"""The MLflow UI on the run store."""

from __future__ import annotations

import os
import subprocess
import sys

from orc_repro.errors import UserError
from orc_repro.tracking.store import embedded_uri, open_client, shown, store_uri


def serve(port: int) -> None:
    """Serve the embedded store on the loopback address until interrupted.

    Raises:
        UserError: another server holds the runs already, or this one could not start.
    """
    uri = store_uri()
    if uri != embedded_uri():
        raise UserError(f"the runs are on {shown(uri)}; open that address instead")
    open_client(uri)
    print(f"MLflow UI on http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    ended = subprocess.run([*command, "--host", "127.0.0.1", "--port", str(port)], env=os.environ)
    if ended.returncode:
        raise UserError(f"the MLflow UI ended with code {ended.returncode}; is port {port} in use?")
