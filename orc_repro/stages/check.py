"""``check``: what a fresh clone can verify without data, weights or a remote."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from orc_repro.cells import Cells, Declaration, expand
from orc_repro.config import load_params
from orc_repro.errors import UserError
from orc_repro.project import REPORTS
from orc_repro.stages.report import report
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml

COMPARED = ("results.csv", "table.md", "summary.json")


def check() -> None:
    """Check declarations against cells, DVC's lock against the tree, results against the report.

    Raises:
        UserError: names the first thing that does not agree.
    """
    params = load_params()
    for path in sorted(Path("studies").glob("*/study.yaml")):
        declared = expand(parse(Declaration, read_yaml(path), str(path)), params)
        written = path.with_name("cells.yaml")
        if parse(Cells, read_yaml(written), str(written)) != declared:
            raise UserError(f"{written} is not what {path} declares; `orc-repro plan` writes it")
    _check_lock()
    with tempfile.TemporaryDirectory() as folder:
        report(folder=Path(folder))
        for name in COMPARED:
            if (REPORTS / name).read_bytes() != (Path(folder) / name).read_bytes():
                raise UserError(f"{REPORTS / name} is not what the results give; run the report")


def _check_lock() -> None:
    # --dry exits with 0 whatever it would run, so its words have to be read.
    command = [sys.executable, "-m", "dvc", "repro", "--dry", "--allow-missing"]
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise UserError(f"dvc could not check the pipeline: {' '.join(done.stderr.split())}")
    for line in done.stdout.splitlines():
        if "Running stage" in line:
            stage = line.split("'")[1]
            raise UserError(f"stage {stage} has changed since dvc.lock was written; run dvc repro")
