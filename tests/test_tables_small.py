"""Every method and group of every table can be run, and one table through DVC, by stages."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from orc_repro.cells import Cells
from orc_repro.config import load_params
from orc_repro.report.results import read_results
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml
from tests.project import ROOT, environment
from tests.tables_small import make_small_project

TABLE = "table10_temporary_teachers"
# Scaled studies have the same methods with other numbers, on groups that tables have too.
EVERY = "[!s]*"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_project(tmp_path_factory.mktemp("small") / "project")


def run(project: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.tables_small", str(project), *words],
        cwd=ROOT,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_a_table_runs_through_dvc_with_workers_and_is_then_up_to_date(project: Path) -> None:
    said = run(project, TABLE, "--workers", "2")
    # Data, a pivot, three cells trained and evaluated, a report.
    assert "[9/9]" in said
    text = (project / f"reports/{TABLE}/table.md").read_text()
    rows = pd.read_csv(project / f"reports/{TABLE}/table.csv")
    measured = rows[rows["state"] == "measured"]
    assert set(measured["method"]) == {"orc-top-0", "orc", "orc-top-2"}
    assert text.count("| not as published: 1 |") >= 3 and "| as published |" not in text
    assert "1. 24 training images, not 50,000" in text
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status", f"studies/{TABLE}/dvc.yaml"],
        cwd=project, env=environment(project), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert "up to date" in status.stdout, status.stdout


def test_every_method_on_every_group_of_every_table_can_be_run(project: Path) -> None:
    """Each at least once; every cell of every table is `make tables-small`."""
    said = run(project, EVERY, "--in-process", "--cover")
    results = [
        r for p in sorted((project / "results").glob("*/evaluated")) for r in read_results(p)
    ]
    taught = {
        (cell.dataset, cell.group, cell.method): bool(cell.teachers)
        for path in sorted(project.glob(f"studies/{EVERY}/cells.yaml"))
        for cell in parse(Cells, read_yaml(path), path.name).cells.values()
    }
    groups = {(dataset, group, taught[dataset, group, m]) for dataset, group, m in taught}
    found = [(r.dataset, r.group, r.method) for r in results]
    assert {(dataset, group, taught[dataset, group, m]) for dataset, group, m in found} == groups
    assert len(groups) > 30 and " stages of " in said
    methods = load_params(ROOT / "params.yaml").methods
    assert {r.method for r in results} == {
        name
        for name in methods
        if not name.startswith("tuned-")
        and (methods[name].kind != "feature" or find_spec("torchdistill"))
    }
    for result in results:
        assert result.epochs == 1 and result.target.last.loss is not None
        assert 0 <= result.target.last.top1 <= 100
    for path in sorted(project.glob(f"studies/{EVERY}/study.yaml")):
        name = path.parent.name
        folder = project / "reports" / ("" if name == "default" else name)
        rows = pd.read_csv(folder / "table.csv")
        ours = rows["state"].isin(["measured", "both"]) if "state" in rows else rows["n"] > 0
        assert ours.any(), name
