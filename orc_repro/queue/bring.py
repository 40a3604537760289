"""``import``: runs that were made in another copy of the project, verified before they are kept.

A copy may come from anywhere and hold anything. Each run is copied beside its place, and what is
verified is that copy: it must be of an entry that is declared here, under the fingerprint that this
checkout computes; its logs, checkpoints, weights and results must be whole and belong together.
Only then do its files take their places, the run's outcome last.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from orc_repro.cells import Study
from orc_repro.errors import UserError, one_line
from orc_repro.files import discard, sync_folder, write_json
from orc_repro.project import POOLS, WEIGHTS, evaluated, run_folder, scratch, trained
from orc_repro.queue.standing import WEIGHTS_OF, identity_of, is_done
from orc_repro.queue.verify import OUTPUTS, verify_outputs, verify_run
from orc_repro.queue.work import Studies
from orc_repro.stages.identity import Identity
from orc_repro.stages.run import LOCK
from orc_repro.tracking.description import Description
from orc_repro.tracking.outcome import OUTCOME, Outcome, read_outcome
from orc_repro.tracking.runlog import ARTIFACTS, COMMITTED, FILES
from orc_repro.tracking.tracker import ABOUT
from orc_repro.training.checkpoints import KEPT, saved
from orc_repro.validation import read_json

KINDS = ("pretrain", "assist", "train")
_CHECKPOINT = re.compile(r"checkpoint-\d{6}-\d{9}\.pt")
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Offered:
    """A run in another copy, and the entry here that it says it is of."""

    folder: Path
    study: Study
    kind: str
    key: str

    @property
    def rank(self) -> tuple[int, int]:
        """Teachers first: what starts from them is known once they are here."""
        cells = self.study.cells
        entries = (cells.pivots, cells.assistants, cells.cells)
        number = KINDS.index(self.kind)
        return number, list(entries[number]).index(self.key)


def bring(source: Path) -> tuple[list[str], list[str]]:
    """Take over every run of another copy that fits.

    Returns:
        a line for each that is here now, and one for each that was refused.

    Raises:
        UserError: the folder holds no runs at all.
    """
    runs = next((f for f in (source / ".orc/runs", source / "runs") if f.is_dir()), None)
    if runs is None:
        raise UserError(f"{one_line(str(source))} has no folder .orc/runs or runs")
    offered, taken, refused, studies = list[Offered](), list[str](), list[str](), Studies()
    for folder in sorted(runs.iterdir()):
        if not _FINGERPRINT.fullmatch(folder.name) or folder.is_symlink():
            continue  # another program's
        try:
            offered.append(_offered(folder, studies))
        except UserError as error:
            refused.append(f"refused: {folder.name}: {one_line(str(error))}")
    for one in sorted(offered, key=lambda one: one.rank):
        try:
            taken.append(f"{one.key}: {_take(one, source)}")
        except UserError as error:
            refused.append(f"refused: {one.key}: {one_line(str(error))}")
    return taken, refused


def _offered(folder: Path, studies: Studies) -> Offered:
    about: Description = read_json(Description, _plain(folder / ABOUT))
    for owner in (Path("studies") / about.study, Path("studies") / POOLS / about.study):
        if not (owner / "cells.yaml").is_file():
            continue
        study = studies[owner]
        cells = study.cells
        entries: tuple[Collection[str], ...] = (cells.pivots, cells.assistants, cells.cells)
        for kind, known in zip(KINDS, entries, strict=True):
            if about.cell in known and cells.datasets:
                return Offered(folder, study, kind, about.cell)
    raise UserError(f"{about.study} declares no {about.cell} here")


def _take(one: Offered, source: Path) -> str:
    identity = identity_of(one.study, one.kind, one.key)
    if identity is None:
        raise UserError(
            "its dataset is not prepared here, or its teachers are neither here nor there"
        )
    here = run_folder(identity.fingerprint)
    with _staged(one.folder) as staged, _locked(here):
        outcome = verify_run(staged, one.folder.name, identity)
        finished = outcome is not None and outcome.status == "FINISHED"
        ours = read_outcome(here)
        if ours is not None and ours.status == "FINISHED":
            return "is here already"
        if one.kind in WEIGHTS_OF and is_done(one.study, one.kind, one.key):
            # DVC brought it, without its run; what was trained on it here would lose its ground.
            return "is here already, without its run"
        if not finished and _newest(staged) <= _newest(here):
            return "is as far here"
        if finished:
            assert outcome is not None
            result = evaluated(one.study.name) / f"{one.key}.json"
            _copy_outputs(source, [*outcome.outputs, result.as_posix()], staged)
            verify_outputs(staged, outcome, identity, one.study, one.kind)
            # What lies there is of another run.
            discard(trained(one.study.name) / f"{one.key}.json")
            if one.kind == "train":
                shutil.rmtree(WEIGHTS / one.key, ignore_errors=True)
            _install_outputs(staged)
        _install_run(staged, here)
        _tell_params(identity, here)
        write_json(here / "config.json", identity.resolved_config())
        write_json(here / "made_from.json", identity.made_from)
        _install_outcome(outcome, here)
    return "taken over" if finished else "taken over, to be continued"


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A copy of what belongs into a run folder, within this machine's own folder."""
    staged = scratch() / "incoming" / uuid.uuid4().hex
    staged.mkdir(parents=True)
    try:
        for name in (ABOUT, OUTCOME, COMMITTED, *FILES):
            if (folder / name).exists():
                _copy(folder / name, staged / name)
        checkpoints = [p for p in saved(folder) if _CHECKPOINT.fullmatch(p.name)]
        for path in checkpoints[-KEPT:]:
            _copy(path, staged / path.name)
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK).acquire(timeout=0):
            yield
    except Timeout:
        raise UserError("it is being trained here") from None


def _plain(path: Path) -> Path:
    """A file that is one itself, not a link out of the copy."""
    if path.is_symlink() or not path.is_file():
        raise UserError(f"{one_line(path.name)} is missing, or no plain file")
    return path


def _copy(source: Path, goal: Path) -> None:
    if shutil.disk_usage(goal.parent).free < _plain(source).stat().st_size:
        raise UserError(f"{one_line(source.name)} does not fit on this disk")
    shutil.copyfile(source, goal)


def _copy_outputs(source: Path, paths: list[str], staged: Path) -> None:
    """Outputs under their own paths; none may lead out. A result need not be there."""
    for name in paths:
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"it says it wrote {one_line(name)}, which no run does")
        if any((source / parent).is_symlink() for parent in path.parents if parent != Path()):
            raise UserError(f"{one_line(name)} lies behind a link")
        if not (source / path).exists() and path.parent.name == "evaluated":
            continue
        (staged / OUTPUTS / path).parent.mkdir(parents=True, exist_ok=True)
        _copy(source / path, staged / OUTPUTS / path)


def _install_outputs(staged: Path) -> None:
    """Move weights, roles, history and result into place in this order, the reverse of their names:
    a kill in between leaves neither a history nor a result beside weights of another run.
    """
    outputs = staged / OUTPUTS
    for path in sorted((p for p in outputs.rglob("*") if p.is_file()), reverse=True):
        _move(path, path.relative_to(outputs))


def _install_run(staged: Path, here: Path) -> None:
    """A kill in between leaves a run without an outcome, which the same import makes whole."""
    for path in [here / OUTCOME, *saved(here), *(here / name for name in FILES)]:
        path.unlink(missing_ok=True)
    shutil.rmtree(here / ARTIFACTS, ignore_errors=True)
    for path in sorted(staged.iterdir()):
        if path.is_file() and path.name != OUTCOME:
            _move(path, here / path.name)


def _tell_params(identity: Identity, here: Path) -> None:
    """What MLflow is told of a run's parameters is how this checkout calls them."""
    about: Description = read_json(Description, here / ABOUT)
    params = identity.description(torch.device("cpu")).params
    if about.params != params:
        told = about.model_copy(update={"params": params})
        write_json(here / ABOUT, told.model_dump(mode="json"))


def _install_outcome(outcome: Outcome | None, here: Path) -> None:
    if outcome is None:
        return
    for name in outcome.outputs:  # what MLflow is sent, as the run itself would have kept it
        kept = {".parquet": "roles/events.parquet", ".json": "training/history.json"}
        if (goal := kept.get(Path(name).suffix)) is not None:
            (here / ARTIFACTS / goal).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, here / ARTIFACTS / goal)
    if outcome.outputs:
        (here / ARTIFACTS / "config").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(here / "config.json", here / ARTIFACTS / "config/resolved.json")
    write_json(here / OUTCOME, outcome.model_dump())


def _move(path: Path, goal: Path) -> None:
    """Into its place in one step, also from another file system."""
    goal.parent.mkdir(parents=True, exist_ok=True)
    partial = goal.with_name(f".{goal.name}.{uuid.uuid4().hex}.partial")
    try:
        shutil.move(path, partial)
        partial.replace(goal)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(goal.parent)


def _newest(folder: Path) -> str:
    return max((path.name for path in saved(folder)), default="")
