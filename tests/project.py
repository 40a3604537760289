"""A copy of the project in a folder of its own, made small enough to run in a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from orc_repro.yaml_files import read_lock, read_yaml

ROOT = Path(__file__).parents[1]
REAL = Path(os.environ.get("ORC_REAL_DATA") or ROOT.parent / "shared" / "data")


def copy_project(to: Path, edit: Callable[[dict[str, Any]], None], row: dict[str, Any]) -> Path:
    """Copy code and declarations; ``edit`` changes params.yaml, ``row`` the default study."""
    for name in ("orc_repro", "studies/default"):
        # Neither caches nor locks: a copy has the results of no study.
        unwanted = shutil.ignore_patterns("__pycache__", "dvc.lock")
        shutil.copytree(ROOT / name, to / name, ignore=unwanted)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copyfile(ROOT / name, to / name)
    if probed := read_lock(ROOT / "dvc.lock").get("probe"):  # so that no copy is probed again
        lock = {"schema": "2.0", "stages": {"probe": probed}}
        (to / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    params = read_yaml(ROOT / "params.yaml")
    edit(params)
    (to / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    study = read_yaml(ROOT / "studies/default/study.yaml")
    study["rows"][0] |= row
    (to / "studies/default/study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return to


def environment(project: Path) -> dict[str, str]:
    """The commands of a copy run its own code and keep to its own store."""
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "ORC_", "GIT_"))
    }
    return inherited | {
        "PYTHONPATH": str(project),
        "DVC_NO_ANALYTICS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "ORC_DEVICE": "cpu",
    }


def command(project: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run ``python -m <words>`` in a project."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done
