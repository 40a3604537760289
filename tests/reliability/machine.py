"""A small project whose training processes are killed, stopped and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.project import ROOT, command, copy_project, environment

METHODS = ("orc", "kd", "ce")
PIVOT = "digits-resnet14-digits-s0"
OUTPUTS = ("weights", "roles", "results/default/trained")


def cell_of(method: str) -> str:
    return f"digits-small-{method}-s0"


def small(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Three networks on digits for a few epochs; a checkpoint after every step."""

    def edit(params: dict[str, Any]) -> None:
        params["groups"]["small"] = {
            "pivot": "resnet14",
            "students": ["resnet8.a", "resnet8"],
            "target": "resnet8",
        }
        params["recipes"]["digits"] |= {
            "epochs": 3,
            "cpu_threads": 1,
            "schedule": {"milestones_epochs": [1, 2], "factor": 0.1},
        }
        params["tracking"]["enabled"] = False
        params["checkpoints"]["every_seconds"] = 0
        for section, values in changes.items():
            params[section] |= values

    return edit


def make_project(to: Path, **changes: Any) -> Path:
    """A project whose data is prepared and whose pivot is trained."""
    copy_project(to, small(**changes), {"groups": ["small"], "seeds": [0]})
    command(to, "orc_repro", "plan")
    command(to, "orc_repro", "prepare", "digits")
    command(to, "orc_repro", "pretrain", PIVOT)
    return to


def set_parameter(project: Path, section: str, name: str, value: Any) -> None:
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params[section][name] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def _ignore() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def start(
    project: Path,
    *words: str,
    module: str = "orc_repro",
    in_background: bool = False,
    **variables: str,
) -> subprocess.Popen[str]:
    """Start ``python -m <module> <words>`` in a process group of its own.

    ``in_background``: as a shell's ``command &``, which does not hear SIGINT.
    """
    path = {"PYTHONPATH": f"{project}{os.pathsep}{ROOT}"}
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=project,
        env=environment(project) | path | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=_ignore if in_background else None,
    )


def run_folder(project: Path, cell: str) -> Path:
    """The folder of a cell's newest run."""
    found = [
        path.parent
        for path in (project / ".orc/runs").glob("*/config.json")
        if f'"cell": "{cell}"' in path.read_text()
    ]
    return max(found, key=lambda folder: (folder / "config.json").stat().st_mtime)


def newest_checkpoint(project: Path, cell: str) -> str:
    """Its name, which grows as a run goes on; empty if there is none."""
    try:
        return max((p.name for p in run_folder(project, cell).glob("checkpoint-*.pt")), default="")
    except (ValueError, OSError):  # no run folder yet, or none any more
        return ""


def wait_for_progress(
    process: subprocess.Popen[str], project: Path, cell: str, timeout_s: float = 600
) -> bool:
    """Wait for a checkpoint newer than the one of now; False if the process ended before."""
    before = newest_checkpoint(project, cell)
    return wait_until(lambda: newest_checkpoint(project, cell) > before, process, timeout_s)


def wait_until(
    condition: Callable[[], bool], process: subprocess.Popen[str], timeout_s: float = 600
) -> bool:
    """Wait for a condition; False if the process ended before it held."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    process.kill()
    raise AssertionError("the process did nothing for too long")


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def outputs(project: Path) -> dict[str, bytes]:
    """Every file that training wrote, by its path."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for folder in OUTPUTS
        for path in sorted((project / folder).rglob("*"))
        if path.is_file()
    }


def running(mark: str) -> list[psutil.Process]:
    """Every process that was started, however indirectly, with a mark in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ORC_TEST") == mark and (
                process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until_nothing_runs(mark: str, timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while left := running(mark):
        assert time.monotonic() < end, [process.cmdline() for process in left]
        time.sleep(0.1)
