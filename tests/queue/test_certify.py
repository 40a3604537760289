"""What ``certify`` takes for known to DVC, and what it tells it; DVC itself is not asked here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orc_repro import yaml_files
from orc_repro.config import load_params
from orc_repro.files import read_file
from orc_repro.queue.certify import certify
from orc_repro.queue.order import read_entries
from tests.queue.made import inside, make


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("certify") / "planned")


@pytest.fixture
def project(planned: Path, tmp_path: Path) -> Path:
    return shutil.copytree(planned, tmp_path / "project")


def said() -> list[str]:
    return certify(read_entries([], load_params()))


def test_a_lock_is_read_once_however_many_stages_are_looked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    read: list[str] = []

    def counted(path: Path) -> bytes:
        read.append(path.name)
        return read_file(path)

    monkeypatch.setattr(yaml_files, "read_file", counted)
    with inside(project):
        assert said() == ["0 stages are DVC's now; 8 are not run, or not to their end"]
    assert read.count("dvc.lock") == 1
