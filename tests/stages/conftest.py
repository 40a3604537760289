"""What tests of stages start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.machine import make_project


@pytest.fixture
def inside_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project with data and a pivot; it is the current folder, and no other is known."""
    project = make_project(tmp_path / "project")
    monkeypatch.chdir(project)
    for name in ("DVC_ROOT", "DVC_STAGE", "ORC_SCRATCH", "ORC_RUN_PID"):
        monkeypatch.delenv(name, raising=False)
    return project
