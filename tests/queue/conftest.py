"""A planned project for every module, and a copy of it for every test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.queue.made import make


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("queue") / "planned")


@pytest.fixture
def project(planned: Path, tmp_path: Path) -> Path:
    return shutil.copytree(planned, tmp_path / "project")
