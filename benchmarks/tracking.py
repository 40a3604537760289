"""What tracking costs training: step time with the server there, gone, and hanging.

``python -m benchmarks.tracking [rounds]``, in the folder of the project. Every step logs a role
change, which no real run does; the server is a real one, on the loopback address.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import torch

from benchmarks.group import Steps
from benchmarks.timing import compared, show
from orc_repro.config import Tracking
from orc_repro.distill.roles import RoleChange
from orc_repro.files import write_json
from orc_repro.interruption import Interruption
from orc_repro.rehearsal import seconds_of
from orc_repro.tracking import sender
from orc_repro.tracking.description import Description
from orc_repro.tracking.runlog import RunLog
from orc_repro.tracking.sender import Sender

STEPS = 60
SETTINGS = Tracking(enabled=True, role_changes="all")


def serve(folder: Path, stack: ExitStack) -> str:
    """Start a server that is stopped with the stack; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
         "--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--workers", "1"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    stack.callback(server.wait)
    stack.callback(server.terminate)
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
            return f"http://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.2)


def hang(stack: ExitStack) -> str:
    """An address that takes connections and never answers."""
    listening = stack.enter_context(closing(socket.socket()))
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def sending(folder: Path, address: str | None, students: tuple[str, ...]) -> Iterator[RunLog]:
    """A run's log, and a sender to an address that is at work on it."""
    folder.mkdir()
    about = Description(
        study="bench", experiment="bench", fingerprint=folder.name, attempt="1", cell="bench",
        row=folder.name, row_name="bench", run_name=folder.name, epochs=1, students=students,
        params={}, tags={},
    )  # fmt: skip
    write_json(folder / "run.json", about.model_dump(mode="json"))
    with closing(RunLog(folder)) as log:
        if address is None:
            yield log
            return
        os.environ["MLFLOW_TRACKING_URI"] = address
        at_work = Sender(folder, SETTINGS)
        at_work.start()
        time.sleep(1)  # until it has met its server, or has not
        yield log
        at_work.stop(Interruption())


def logged_steps(steps: Steps, log: RunLog) -> None:
    """So many steps, a role change each, and what a checkpoint does to the log at the end."""
    first = steps.group.students[0]
    for i in range(STEPS):
        steps(1)
        log.role_change(RoleChange(0, i, (), (first,), (first,), {first: 0.5}))
        if i % 20 == 0:
            log.checkpointed(log.flush())


def main(rounds: int) -> None:
    """Print milliseconds a step, and the ratio to a server that is there."""
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "1"
    sender.INTERVAL_S, sender.LONGEST_PAUSE_S = 0.5, 4.0  # far more often than in a run
    torch.set_num_threads(1)
    steps = Steps(shape=(1, 8, 8), batch_size=32)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        os.environ["ORC_SCRATCH"] = name
        addresses = {
            "server there": serve(folder, stack),
            "server gone": "http://127.0.0.1:9",
            "server hangs": hang(stack),
            "tracking off": None,
        }
        times: dict[str, list[float]] = {state: [] for state in addresses}
        for i in range(rounds + 1):
            for state in list(addresses) if i % 2 else list(reversed(addresses)):
                place = folder / f"{state}-{i}".replace(" ", "-")
                with sending(place, addresses[state], steps.group.students) as log:
                    took = seconds_of(partial(logged_steps, steps, log))
                if i:
                    times[state].append(took)
        title = "ORC, r20-r8, batches of 32 digits-sized images, one thread, a role change a step"
        show(title, compared(times), STEPS, "step")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
