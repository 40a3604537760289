"""Several processes of one machine: how they are started, how they end, who can reach them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from orc_repro.errors import Interrupted, UserError
from orc_repro.processes import launch
from orc_repro.processes.launch import run_once
from tests.reliability.machine import running, wait_until_nothing_runs

JOINED = """
import sys, time, torch
from pathlib import Path
from orc_repro.processes.joining import join
with join(torch.device("cpu")) as processes:
    assert processes.gathered(processes.rank) == ([0, 1] if processes.leads else [])
    Path(sys.argv[1], str(processes.rank)).touch()
    while not Path(sys.argv[1], "over").exists():
        time.sleep(0.05)
    processes.highest([0])
"""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_all_processes_have_their_rank_and_come_to_their_end(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path as P; e = os.environ; "
    code += "P(sys.argv[1], e['RANK']).write_text(e['LOCAL_RANK'] + e['WORLD_SIZE'])"
    assert run_once(2, python(code, str(tmp_path))) is None
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["02", "12"]


def test_processes_meet_and_listen_on_the_loopback_interface_alone(
    tmp_path: Path,
) -> None:
    mark = uuid.uuid4().hex
    starter = (
        "import sys; from orc_repro.processes.launch import run_once; run_once(2, sys.argv[1:])"
    )
    with subprocess.Popen(
        python(starter, *python(JOINED, str(tmp_path))),
        env=os.environ | {"ORC_TEST": mark, "MASTER_ADDR": "0.0.0.0", "MASTER_PORT": "1"},
    ) as process:
        while not all((tmp_path / rank).exists() for rank in "01"):
            assert process.poll() is None
            time.sleep(0.05)
        listening = [
            connection.laddr.ip
            for member in running(mark)
            for connection in member.net_connections(kind="tcp")
            if connection.status == "LISTEN"
        ]
        (tmp_path / "over").touch()
        assert process.wait(60) == 0
    assert all(address in ("127.0.0.1", "::1") for address in listening), listening


def test_one_that_is_killed_ends_the_others_and_is_named() -> None:
    code = "import os, time; os.environ['RANK'] == '1' and os.kill(os.getpid(), 9); time.sleep(600)"
    began = time.monotonic()
    assert run_once(2, python(code)) == "process 1 of 2 ended with SIGKILL"
    assert time.monotonic() - began < 60


def test_an_error_of_one_is_an_error_of_all() -> None:
    code = "import os, sys, time; os.environ['RANK'] == '1' and sys.exit(2); time.sleep(600)"
    with pytest.raises(UserError, match="process 1 of 2 ended with code 2"):
        run_once(2, python(code))


def test_a_stop_of_one_is_a_stop_of_all() -> None:
    code = "import os, sys, time; os.environ['RANK'] == '0' and sys.exit(143); time.sleep(600)"
    with pytest.raises(Interrupted) as stopped:
        run_once(2, python(code))
    assert stopped.value.by == signal.SIGTERM


def test_one_that_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "TIME_TO_SAVE_S", 0.5)
    mark = uuid.uuid4().hex
    monkeypatch.setenv("ORC_TEST", mark)
    code = "import os, signal, sys, time; deaf = os.environ['RANK'] == '0'\n"
    code += "signal.signal(signal.SIGTERM, signal.SIG_IGN) if deaf else time.sleep(1)\n"
    code += "deaf or sys.exit(2); time.sleep(600)"
    with pytest.raises(UserError):
        run_once(2, python(code))
    wait_until_nothing_runs(mark)


def test_processes_whose_other_never_joins_can_be_stopped(tmp_path: Path) -> None:
    """One dies at its start; the other waits for it where it hears that it is to stop."""
    code = f"import os, time; os.environ['RANK'] == '1' and os.kill(os.getpid(), 9)\n{JOINED}"
    code = f"import time, os\nif os.environ['RANK'] == '1':\n time.sleep(4)\n{code}"
    began = time.monotonic()
    assert run_once(2, python(code, str(tmp_path))) == "process 1 of 2 ended with SIGKILL"
    assert time.monotonic() - began < 60
