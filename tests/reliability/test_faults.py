"""Full disk, no memory, no permission, vanished folders: one sentence, and a run to be resumed."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project import ROOT, command, environment
from tests.reliability.machine import (
    cell_of,
    make_project,
    newest_checkpoint,
    outputs,
    run_folder,
    set_parameter,
    start,
    wait_for_progress,
)

CELL = cell_of("orc")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("faults") / "project")


@pytest.fixture(scope="module")
def expected(project: Path) -> dict[str, bytes]:
    set_parameter(project, "checkpoints", "every_seconds", 60)
    command(project, "orc_repro", "train", CELL)
    return outputs(project)


@pytest.fixture(autouse=True)
def begin_anew(project: Path, expected: dict[str, bytes]) -> None:
    shutil.rmtree(project / ".orc/runs", ignore_errors=True)
    set_parameter(project, "checkpoints", "every_seconds", 0)
    for name in expected:
        if CELL in name:
            (project / name).unlink(missing_ok=True)


@pytest.fixture
def disk(project: Path) -> Iterator[Path]:
    """A small file system of its own for the project's scratch folder."""
    place = project / ".orc"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small file system can only be mounted by root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def sentence(said: str) -> str:
    """The last line, which is the error's only one."""
    lines = said.strip().splitlines()
    assert "Traceback" not in said and "Exception ignored" not in said, said
    assert lines[-1].startswith("orc-repro: "), said
    return lines[-1]


def assert_goes_on_to_the_same_bits(project: Path, expected: dict[str, bytes]) -> None:
    assert newest_checkpoint(project, CELL)
    set_parameter(project, "checkpoints", "every_seconds", 60)
    command(project, "orc_repro", "train", CELL)
    assert outputs(project) == expected


def test_a_disk_that_fills_while_a_checkpoint_is_written(
    disk: Path, project: Path, expected: dict[str, bytes]
) -> None:
    process = start(project, "train", CELL)
    assert wait_for_progress(process, project, CELL)
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(65536)):
                pass
        except OSError:
            pass
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "No space left on device" in sentence(said)
    left = sorted(path.name for path in run_folder(project, CELL).glob("checkpoint-*"))
    assert left and not list(run_folder(project, CELL).glob(".checkpoint*"))
    ballast.unlink()
    assert_goes_on_to_the_same_bits(project, expected)


def test_a_file_system_that_becomes_read_only(
    disk: Path, project: Path, expected: dict[str, bytes]
) -> None:
    process = start(project, "train", CELL)
    assert wait_for_progress(process, project, CELL)
    # A busy file system refuses to become read-only; a lazy layer above it does not.
    subprocess.run(["mount", "--bind", str(disk), str(disk)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True)
        said, _ = process.communicate(timeout=300)
        refused = command(project, "orc_repro", "train", CELL, check=False)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert process.returncode == refused.returncode == 2
    assert "Read-only file system" in sentence(said)
    assert "Read-only file system" in sentence(refused.stderr)
    assert_goes_on_to_the_same_bits(project, expected)


def test_a_limit_on_the_size_of_files(project: Path, expected: dict[str, bytes]) -> None:
    process = start(project, "train", CELL)
    assert wait_for_progress(process, project, CELL)
    process.kill()
    process.communicate()
    before = newest_checkpoint(project, CELL)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))  # a checkpoint has 4 MB

    done = subprocess.run(
        [sys.executable, "-m", "orc_repro", "train", CELL],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        preexec_fn=limit,
        timeout=300,
    )
    assert done.returncode == 2
    assert "File too large" in sentence(done.stderr)
    assert "goes on from the checkpoint before" in done.stderr
    assert newest_checkpoint(project, CELL) == before
    assert_goes_on_to_the_same_bits(project, expected)


def test_memory_that_does_not_suffice(project: Path, expected: dict[str, bytes]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.hungry", "9", "train", CELL],
        cwd=project,
        env=environment(project) | {"PYTHONPATH": f"{project}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    said = sentence(done.stderr)
    assert "cpu ran out of memory with batches of 32" in said and "resnet8.a" in said
    assert newest_checkpoint(project, CELL) == "checkpoint-000000-000000008.pt"
    assert_goes_on_to_the_same_bits(project, expected)


def test_folders_that_vanish(project: Path, expected: dict[str, bytes]) -> None:
    away = project / "away"
    process = start(project, "train", CELL)
    assert wait_for_progress(process, project, CELL)
    (project / "data/prepared").rename(away)  # it is in memory by now
    assert wait_for_progress(process, project, CELL)
    folder = run_folder(project, CELL)
    folder.rename(project / "run")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 2
    complaint = sentence(said)  # of the log, or of a checkpoint that was being written just then
    assert f"the run log in {folder} cannot be written" in complaint or (
        f"{folder}/checkpoint-" in complaint and "cannot be written" in complaint
    )

    shutil.rmtree(folder, ignore_errors=True)
    (project / "run").rename(folder)
    refused = command(project, "orc_repro", "train", CELL, check=False)
    assert refused.returncode == 2
    assert "data/prepared/digits/manifest.json does not exist" in sentence(refused.stderr)
    away.rename(project / "data/prepared")
    assert_goes_on_to_the_same_bits(project, expected)
