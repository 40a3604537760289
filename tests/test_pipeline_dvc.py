"""DVC runs what has changed, and only that; a fresh clone can be checked."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.project import command, copy_project, environment


def shrink(params: dict[str, Any]) -> None:
    params["groups"]["small"] = {
        "pivot": "resnet14",
        "students": ["resnet8.a", "resnet8"],
        "target": "resnet8",
    }
    params["recipes"]["digits"] |= {"epochs": 1, "cpu_threads": 1}


def git(project: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(
        ["git", *who, *words],
        cwd=project,
        check=True,
        capture_output=True,
        env=environment(project),
    )


def all_stages_run(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if "Running stage" in line]


def stages_run(output: str) -> list[str]:
    """Those that compute something; the others write what the code computes."""
    return [s for s in all_stages_run(output) if s not in ("probe", "behaviour")]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    row = {"groups": ["small"], "seeds": [0]}
    project = copy_project(tmp_path_factory.mktemp("dvc"), shrink, row)
    git(project, "init", "-q")
    command(project, "dvc", "init", "-q")
    command(project, "orc_repro", "plan")
    done = command(project, "dvc", "repro")
    assert len(stages_run(done.stdout)) == 9
    git(project, "add", "-A")
    git(project, "commit", "-qm", "first")
    return project


def test_a_second_time_nothing_runs(project: Path) -> None:
    done = command(project, "dvc", "repro")
    assert stages_run(done.stdout) == []
    assert "up to date" in done.stdout


def test_what_a_cell_will_take_is_told_and_nothing_is_written(project: Path) -> None:
    cell = "digits-small-orc-s0"
    before = sorted(project.rglob("*"))
    told = command(project, "orc_repro", "train", cell, "--plan").stdout.splitlines()
    assert [line.split()[0] for line in told] == ["parameters", "arithmetic", "memory", "time"]
    assert "330,478: resnet14 174,970, resnet8.a 77,754, resnet8 77,754" in told[0]
    assert " 1 epochs" in told[3]
    assert sorted(project.rglob("*")) == before
    unknown = command(project, "orc_repro", "train", "nobody", "--plan", check=False)
    assert unknown.returncode == 2 and "nobody" in unknown.stderr


def test_metrics_and_plots_are_there_without_a_network(project: Path) -> None:
    shown = command(project, "dvc", "metrics", "show").stdout
    assert "digits-small.orc.top1" in shown
    command(project, "dvc", "plots", "show")
    page = (project / "dvc_plots/index.html").read_text()
    assert "<img" in page and "http" not in page


def test_a_clone_without_data_can_be_checked_and_names_what_changed(
    project: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    git(project, "clone", "-q", str(project), str(clone))
    assert not (clone / "weights").exists()
    assert "as dvc.lock says" in command(clone, "orc_repro", "check").stdout
    table = clone / "reports/table.md"
    before = table.read_bytes()
    table.unlink()
    command(clone, "orc_repro", "report")
    assert table.read_bytes() == before
    loss = clone / "orc_repro/distill/losses.py"
    text = loss.read_text()
    loss.write_text(text + "# changed\n")
    dry = command(clone, "dvc", "repro", "--dry", "--allow-missing")
    assert all_stages_run(dry.stdout) == ["probe"]
    loss.write_text(text.replace("divergence * temperature**2", "divergence * temperature"))
    refused = command(clone, "orc_repro", "check", check=False)
    assert refused.returncode == 2
    assert "the code computes something else than probes.json says: method/dgkd" in refused.stderr


def test_what_dvc_has_left_torn_or_locked_is_no_change_of_a_stage(
    project: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    git(project, "clone", "-q", str(project), str(clone))
    lock, list_of_users = clone / "dvc.lock", clone / ".dvc/tmp/rwlock"
    list_of_users.parent.mkdir(exist_ok=True)
    whole = lock.read_bytes()
    lock.write_bytes(whole[:1000])
    list_of_users.write_bytes(b"")
    mended = command(clone, "orc_repro", "check")
    assert "warning: dvc.lock was cut short" in mended.stderr
    assert lock.read_bytes() == whole

    with subprocess.Popen(["sleep", "600"]) as other:
        user = {"pid": other.pid, "cmd": "dvc repro"}
        users = {"write": {str(clone / "data/prepared/digits"): user}}
        list_of_users.write_text(json.dumps(users))
        refused = command(clone, "orc_repro", "check", check=False)
        other.kill()
    assert refused.returncode == 2 and "has changed" not in refused.stderr
    assert f"process {other.pid} (dvc repro) is at work" in refused.stderr
    assert "manually" not in refused.stderr


def test_one_parameter_of_orc_trains_orc_again_and_nothing_else(project: Path) -> None:
    done = command(project, "dvc", "exp", "run", "-S", "methods.orc.temperature=2")
    assert stages_run(done.stdout) == [
        "train@digits-small-orc-s0",
        "evaluate@digits-small-orc-s0",
        "report",
    ]
    assert "temperature" in command(project, "dvc", "params", "diff").stdout


def test_an_error_in_params_stops_every_stage_in_one_sentence(project: Path) -> None:
    path = project / "params.yaml"
    text = path.read_text()
    try:
        path.write_text(text.replace("epochs: 1\n", "epochs: 0\n", 1))
        done = command(project, "dvc", "repro", check=False)
    finally:
        path.write_text(text)
    assert done.returncode == 255
    assert "orc-repro: params.yaml: recipes.digits.epochs is 0" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(project / "results/default/evaluated")
