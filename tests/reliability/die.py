"""Runs a command of the project that is killed at a chosen instant of its writing.

``python -m tests.reliability.die <where> <count> <words>``: the process kills itself with SIGKILL

- ``sync``: when it would bring a file or folder to the disk for the count-th time;
- ``rename``: when it would put a finished file into its place for the count-th time;
- ``renamed``: just after that;
- ``log``: in the middle of its count-th write to the run's log.
"""

from __future__ import annotations

import io
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

from orc_repro.cli import main
from orc_repro.tracking import runlog


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(where: str, count: int) -> None:
    calls = itertools.count(1)
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        if next(calls) == count:
            die()
        sync(descriptor)

    def rename(path: Path, goal: Path) -> Path:
        last = next(calls) == count
        if last and where == "rename":
            die()
        found = replace(path, goal)
        if last:
            die()
        return found

    class DyingFile(io.FileIO):
        def write(self, content: Any) -> int:
            if next(calls) == count:
                super().write(bytes(content)[: len(content) // 2])
                die()
            return super().write(content)

    if where == "sync":
        vars(os)["fsync"] = fsync
    elif where in ("rename", "renamed"):
        setattr(Path, "replace", rename)  # noqa: B010
    elif where == "log":
        vars(runlog)["FileIO"] = DyingFile
    else:
        raise ValueError(where)


if __name__ == "__main__":
    _, place, number, *words = sys.argv
    arm(place, int(number))
    sys.argv = ["orc-repro", *words]
    main()
