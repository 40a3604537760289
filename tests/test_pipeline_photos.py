"""ImageNet's own sizes through every stage and DVC: ResNet-34 and two ResNet-18 at 224 pixels."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from orc_repro.report.results import read_results
from tests.data.made_photos import make_tree, photo_entry
from tests.project import command, copy_project
from tests.reliability.machine import newest_checkpoint, outputs, start, wait_for_progress

CELL = "photos-r34-r18-orc-imagenet-s0"
PIVOT = "photos-resnet34-imagenet-s0"


def shrink(params: dict[str, Any]) -> None:
    params["data"]["photos"] = photo_entry(Path("data/photos"))
    params["recipes"]["imagenet"] |= {
        "epochs": 1,
        "batch_size": 4,
        "schedule": {"milestones_epochs": [], "factor": 0.1},
        "deterministic": True,
        "cpu_threads": 1,
    }
    params["checkpoints"]["every_seconds"] = 0
    params["tracking"]["enabled"] = False


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real photographs where there are any, and the odd files that ImageNet has."""
    row = {
        "dataset": "photos",
        "groups": ["r34-r18"],
        "recipe": "imagenet",
        "pivot": {"recipe": "imagenet", "seed": 0},
        "methods": ["orc-imagenet"],
        "seeds": [0],
    }
    project = copy_project(tmp_path_factory.mktemp("photos"), shrink, row)
    make_tree(project / "data/photos", per_class=5)
    with (project / ".dvcignore").open("a") as ignored:
        ignored.write("/data/photos\n")
    command(project, "orc_repro", "plan")
    command(project, "dvc", "init", "-q", "--no-scm")
    command(project, "orc_repro", "list", "photos")
    command(project, "dvc", "repro", f"pretrain@{PIVOT}")
    return project


def test_trained_stopped_continued_evaluated_and_reported(project: Path) -> None:
    process = start(project, "train", CELL)
    assert wait_for_progress(process, project, CELL)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 143, said
    assert newest_checkpoint(project, CELL) < "checkpoint-000001"  # within the only epoch
    command(project, "orc_repro", "list", "photos")
    command(project, "dvc", "repro", "report")
    continued = outputs(project)
    (result,) = read_results(project / "results/default/evaluated")
    assert set(result.networks) == {"resnet34", "resnet18.a", "resnet18"}
    assert result.networks["resnet18"].parameters == 11_178_564  # of 4 classes
    assert sum(result.elected.values()) == 3
    assert result.target.last.class_top1 and len(result.target.last.class_top1) == 4
    table = (project / "reports/table.md").read_text()
    assert "orc-imagenet" in table
    # The run that was stopped within an epoch is the run that nobody disturbed.
    command(project, "orc_repro", "train", CELL, "--restart")
    assert outputs(project) == continued
    again = command(project, "dvc", "repro", "report")
    assert "Running stage" not in again.stdout
