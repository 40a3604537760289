"""Whether weights are those that a run or DVC answers for, not just a file of the right name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from orc_repro.errors import UserError
from orc_repro.fingerprint import file_digest
from orc_repro.pipelines import pipeline_of
from orc_repro.project import run_folder
from orc_repro.tracking.outcome import read_outcome
from orc_repro.yaml_files import read_lock


def is_known(folder: Path, stage: str, fingerprint: str, weights: Path) -> bool:
    """Whether a stage's weights are what its finished run here wrote, or what DVC's lock has.

    Args:
        folder: the study or pool whose pipeline has the stage.
        fingerprint: of the stage's run.
    """
    noted = _written_by(fingerprint).get(weights.as_posix())
    if noted is not None and noted == _sha256(weights.resolve(), _state(weights)):
        return True
    lock = pipeline_of(folder).with_name("dvc.lock")
    if not lock.exists():
        return False
    outs = _locked(lock.resolve(), _state(lock)).get(stage, {}).get("outs", [])
    known = {str(out.get("path")): out.get("md5") for out in outs}
    # All of them: weights that are older than their history are another run's.
    return weights.as_posix() in known and all(map(is_md5, known, known.values()))


def are_others(fingerprint: str, files: Iterable[Path]) -> bool:
    """Whether a run that was finished here wrote other files than those that lie there; False where
    it was finished elsewhere.
    """
    noted = _written_by(fingerprint)
    known = [file for file in files if file.as_posix() in noted]
    return any(_sha256(f.resolve(), _state(f)) != noted[f.as_posix()] for f in known)


def _written_by(fingerprint: str) -> dict[str, str]:
    """SHA-256 of each output of a run that was finished here, by path."""
    with suppress(UserError):  # one that is damaged answers for nothing
        ended = read_outcome(run_folder(fingerprint))
        if ended is not None and ended.status == "FINISHED":
            return dict(ended.outputs)
    return {}


def is_md5(path: str, wanted: object) -> bool:
    """Whether a file is there and has an MD5, by which DVC knows it."""
    file = Path(path)
    return file.is_file() and _md5(file.resolve(), _state(file)) == wanted


def _state(path: Path) -> tuple[int, int, int]:
    """What changes whenever a file is written anew: each is read once."""
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns


@cache
def _sha256(path: Path, _: tuple[int, int, int]) -> str:
    return file_digest(path)


@cache
def _md5(path: Path, _: tuple[int, int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


@cache
def _locked(path: Path, _: tuple[int, int, int]) -> dict[str, dict[str, Any]]:
    return read_lock(path)
