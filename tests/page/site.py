"""A project with one study of one run that changed roles, for the tests of the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd

from orc_repro.files import write_json
from tests.project import ROOT

KEY = "digits-r20-r8-orc-s0"


def make(folder: Path) -> Path:
    """The default study as it is in this repository, with role changes that fit its history."""
    for name in ("params.yaml", "results/default", "studies/default", "reports"):
        source, to = ROOT / name, folder / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, to)
        else:
            shutil.copyfile(source, to)
    for name in ("roles", "classes", "numbers", "cost", "index.html"):
        path = folder / "reports" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in (folder / "results/default").glob(f"*/{KEY}.json"):
        write_json(path, json.loads(path.read_text()) | {"role_changes": 75})
    teachers = ["resnet14", "resnet8"] * 38
    changes = pd.DataFrame(
        {
            "epoch": [step * 7 // 38 for step in range(75)],
            "step": [step * 7 for step in range(75)],
            "left": ["", *teachers[:74]],
            "came": teachers[:75],
            "teachers": teachers[:75],
            "score/resnet14": [0.1] * 75,
            "score/resnet8": [0.3] * 75,
        }
    )
    (folder / "roles").mkdir()
    changes.to_parquet(folder / "roles" / f"{KEY}.parquet")
    return folder


def add_study_without_results(name: str) -> None:
    """A second study, in the current folder's project, of which nothing was run."""
    shutil.copytree(ROOT / "studies/table01_cifar10", Path("studies") / name)
