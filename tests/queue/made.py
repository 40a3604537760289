"""A tiny project whose cells a queue works off in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.project import command, copy_project
from tests.reliability.machine import PIVOT, cell_of, small

CELLS = tuple(cell_of(method) for method in ("ce", "kd", "orc"))
STEPS, EPOCHS = 38, 3
__all__ = ["CELLS", "EPOCHS", "PIVOT", "STEPS", "inside", "make"]


def make(to: Path) -> Path:
    """Three cells and a pivot on digits, three epochs each; planned, and nothing more."""

    def edit(params: dict[str, Any]) -> None:
        small()(params)
        params["checkpoints"]["every_seconds"] = 60

    copy_project(to, edit, {"groups": ["small"], "seeds": [0]})
    command(to, "orc_repro", "plan")
    return to


@contextmanager
def inside(project: Path) -> Iterator[None]:
    """Commands in this process are the project's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        for name in ("DVC_ROOT", "DVC_STAGE", "ORC_SCRATCH", "ORC_RUN_PID"):
            patch.delenv(name, raising=False)
        yield
