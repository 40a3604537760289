"""``check``: what a fresh clone can verify without data, weights or a remote."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from orc_repro.cells import Cells
from orc_repro.config import load_params
from orc_repro.errors import UserError
from orc_repro.page.build import check_page
from orc_repro.pipelines import pipeline_of, pipeline_text
from orc_repro.plan import planned
from orc_repro.progress import Work
from orc_repro.project import REPORTS, reports
from orc_repro.stages.report import report, write_all_results
from orc_repro.stages.reproduction import check_reproduction
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml

COMPARED = ("table.md", "table.csv", "summary.json")


def check() -> None:
    """Check declarations against cells, DVC's locks against the tree, reports against results.

    A study that has not been run yet (no ``dvc.lock``) is checked for its cells alone.

    Raises:
        UserError: names the first thing that does not agree.
    """
    locked, every = list[str](), planned(load_params())
    with Work("check", len(every) + 4, "parts") as work:
        for folder, declared in every.items():
            locked += _check_declared(folder, declared)
            work.done()
        for part in (
            _check_results,
            check_page,
            check_reproduction,
            partial(_check_locked, locked),
        ):
            part()
            work.done()


def _check_declared(folder: Path, declared: Cells) -> list[str]:
    """A study or pool; returns what DVC is to look at."""
    written = folder / "cells.yaml"
    if parse(Cells, read_yaml(written), str(written)) != declared:
        raise UserError(f"{written} is not what is declared; `orc-repro plan` writes it")
    pipeline = pipeline_of(folder)
    if not pipeline.read_text(encoding="utf-8").endswith(pipeline_text(folder, declared)):
        raise UserError(f"{pipeline} is not what is declared; `orc-repro plan` writes it")
    if (folder / "study.yaml").exists():
        _check_report(folder)
    if not pipeline.with_name("dvc.lock").exists():
        return []
    return _locked(pipeline, _stages(folder, declared))


def _check_report(study: Path) -> None:
    shown = reports(study.name)
    with tempfile.TemporaryDirectory() as folder:
        report(study, to=Path(folder))
        for name in COMPARED:
            path = shown / name
            if not path.exists() or path.read_bytes() != (Path(folder) / name).read_bytes():
                raise UserError(f"{path} is not what the results give; run `orc-repro report`")


def _check_results() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_all_results(Path(folder))
        path = REPORTS / "results.csv"
        if not path.exists() or path.read_bytes() != (Path(folder) / path.name).read_bytes():
            raise UserError(f"{path} is not what the results give; run `orc-repro report`")


def _stages(folder: Path, cells: Cells) -> int:
    """How many stages a pipeline has; of cells that lie in pools, none is its own."""
    own = len(cells.datasets) + len(cells.pivots) + len(cells.assistants) + 2 * len(cells.cells)
    return (own if cells.datasets else 0) + (folder / "study.yaml").exists()


def _locked(pipeline: Path, stages: int) -> list[str]:
    """What DVC is to look at: a pipeline that was run to its end as a whole, of another its
    stages that were run, because DVC walks the graph anew for each that is named.
    """
    locked = read_yaml(pipeline.with_name("dvc.lock"))["stages"]
    if len(locked) == stages:
        return [str(pipeline)]
    return [f"{pipeline}:{stage}" for stage in locked]


def _check_locked(targets: Sequence[str]) -> None:
    """Whether every stage that was run is as it was then; others need not have been run."""
    if not targets:
        return
    # --dry exits with 0 whatever it would run, so its words have to be read.
    words = ["dvc", "repro", "--dry", "--allow-missing", *targets]
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, env=environment
    )
    # A changed stage whose inputs are missing too is an error of DVC's instead of a stage to run.
    changed = re.search(
        r"(?:Running stage|failed to reproduce) '([^']+)'", done.stdout + done.stderr
    )
    if changed:
        raise UserError(f"stage {changed[1]} has changed since dvc.lock was written; run dvc repro")
    if done.returncode:
        raise UserError(f"dvc could not check the pipeline: {' '.join(done.stderr.split())}")
