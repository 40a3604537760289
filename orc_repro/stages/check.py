"""``check``: what a fresh clone can verify without data, weights or a remote."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

from orc_repro.cells import Cells, load_study
from orc_repro.config import load_params
from orc_repro.errors import UserError, one_line
from orc_repro.files import read_file, read_text
from orc_repro.interruption import Interruption
from orc_repro.page.build import check_page
from orc_repro.pipelines import BEHAVIOUR, pipeline_of, pipeline_text, write_pipeline
from orc_repro.plan import planned
from orc_repro.pools import left_behind
from orc_repro.probes.behaviour import DIGESTS, check_digests
from orc_repro.probes.entries import behaviour_of
from orc_repro.progress import Work
from orc_repro.project import REPORTS, reports
from orc_repro.stages.dvc_locks import mend_dvc
from orc_repro.stages.dvc_runs import BUSY, turn, who_is_at_work
from orc_repro.stages.report import report, write_all_results
from orc_repro.stages.reproduction import check_reproduction
from orc_repro.validation import parse
from orc_repro.yaml_files import read_lock, read_yaml

COMPARED = ("table.md", "table.csv", "summary.json")


def check() -> None:
    """Check declarations against cells, the code against its digests, DVC's locks against the
    tree, reports against results.

    A study that has not been run yet (no ``dvc.lock``) is checked for its cells alone.

    Raises:
        UserError: names the first thing that does not agree.
    """
    mend_dvc()
    every = planned(load_params())
    for folder in left_behind(Path("studies"), every):
        raise UserError(f"no study declares {folder} any more; `orc-repro plan` removes it")
    pipelines = [pipeline_of(folder) for folder in every]
    locked = {p: _locked(p) for p in pipelines if p.with_name("dvc.lock").exists()}
    written = {pipeline_of(folder): cells for folder, cells in every.items()}
    with Work("check", len(every) + 5, "parts") as work:
        for folder, declared in every.items():
            _check_declared(folder, declared)
            work.done()
        for part in (
            _check_results,
            check_page,
            check_reproduction,
            partial(_check_locked, locked, written),
            check_digests,  # the longest
        ):
            part()
            work.done()


def _check_declared(folder: Path, declared: Cells) -> None:
    """A study or pool: its cells, its pipeline and its report."""
    written = folder / "cells.yaml"
    if parse(Cells, read_yaml(written), str(written)) != declared:
        raise UserError(f"{written} is not what is declared; `orc-repro plan` writes it")
    pipeline = pipeline_of(folder)
    text = pipeline_text(folder, declared)
    if pipeline.exists() and not read_text(pipeline).endswith(text):
        raise UserError(f"{pipeline} is not what is declared; `orc-repro plan` writes it")
    if declared.datasets:
        _check_behaviour(folder)
    if (folder / "study.yaml").exists():
        _check_report(folder)


def _check_behaviour(folder: Path) -> None:
    """What the stages depend on of the code is what the digests say."""
    path = folder / BEHAVIOUR
    try:
        written = json.loads(read_file(path))
    except (OSError, ValueError):
        written = None
    if written != behaviour_of(load_study(folder)):
        raise UserError(
            f"{path} is not what {DIGESTS.name} gives; run `orc-repro probe --study {folder}`"
        )


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


def _locked(pipeline: Path) -> list[str]:
    """The stages of a pipeline that were run, as DVC names them."""
    of = "" if pipeline == Path("dvc.yaml") else f"{pipeline}:"
    return [of + stage for stage in read_lock(pipeline.with_name("dvc.lock"))]


@contextmanager
def _all_written(pipelines: Mapping[Path, Cells]) -> Iterator[None]:
    """Write the pipelines that are missing, for DVC to read, and remove them again."""
    missing = [path for path in pipelines if not path.exists()]
    if not missing:
        yield
        return
    with Interruption() as stop, turn(stop, alone=True):  # a run may be about to need them
        missing = [path for path in missing if not path.exists()]
        try:
            for path in missing:
                write_pipeline(path.parent, pipelines[path])
            yield
        finally:
            for path in missing:
                path.unlink(missing_ok=True)


def _check_locked(pipelines: Mapping[Path, list[str]], written: Mapping[Path, Cells]) -> None:
    """Whether every stage that was run is as it was then; others need not have been run.

    DVC gets whole pipelines, because it reads a lock anew for each stage that is named. What was
    not run cannot be looked at where its inputs are missing: that is no error here.
    """
    if not pipelines:
        return
    # --dry exits with 0 whatever it would run, so its words have to be read.
    words = ["--wait-for-lock", "repro", "--dry", "--allow-missing", "--ignore-errors"]
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    with _all_written({path: written[path] for path in pipelines}):
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *words, *map(str, pipelines)],
            capture_output=True,
            text=True,
            env=environment,
        )
    if done.returncode:
        raise UserError(
            f"dvc could not check the pipelines: {one_line(' '.join(done.stderr.split()))}"
        )
    same = set(re.findall(r"^Stage '([^']+)' didn't change", done.stdout, re.MULTILINE))
    changed = set(re.findall(r"^Running stage '([^']+)'", done.stdout, re.MULTILINE))
    for stage in chain.from_iterable(pipelines.values()):
        if stage not in same | changed and BUSY in done.stderr:
            raise UserError(f"stage {stage} cannot be checked now: {who_is_at_work()}")
        # What these two depend on changes with any edit; what they write is compared instead.
        if stage not in same and stage.rpartition(":")[2] not in ("probe", "behaviour"):
            raise UserError(f"stage {stage} has changed since dvc.lock was written; run dvc repro")
