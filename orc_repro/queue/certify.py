"""``certify``: DVC learns of results that were made without it.

``dvc commit`` takes whatever lies there for a stage's outputs. So it is asked only for stages whose
outputs are, file by file, what a finished run wrote under the fingerprint that this checkout
computes: of the same code, configuration, data and teachers, which is all that the stage depends
on. Data is prepared and cells are evaluated here once more, as both take seconds. What was made up
by somebody who went to the trouble of a whole run folder cannot be told from a run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from orc_repro.cells import Study
from orc_repro.errors import UserError, one_line
from orc_repro.files import PARTIAL
from orc_repro.fingerprint import file_digest
from orc_repro.instructions import use_portable_for
from orc_repro.pipelines import pipeline_of
from orc_repro.probes.entries import write_behaviour
from orc_repro.project import PREPARED, WEIGHTS, evaluated, run_folder
from orc_repro.queue.known import is_md5
from orc_repro.queue.order import Entry
from orc_repro.queue.standing import identity_of
from orc_repro.queue.verify import outputs_of
from orc_repro.queue.work import Studies, recipes_of, stages_of
from orc_repro.stages.dvc_locks import mend_dvc
from orc_repro.stages.dvc_runs import BUSY, who_is_at_work
from orc_repro.stages.jobs import Job, write_pipelines_of
from orc_repro.stages.predictions import evaluate_and_keep
from orc_repro.stages.prepare import prepare
from orc_repro.tracking.outcome import read_outcome
from orc_repro.yaml_files import read_lock


def certify(entries: Sequence[Entry]) -> list[str]:
    """Tell DVC of every run that came to its end, with all it waits for; returns what to print.

    Raises:
        UserError: DVC refuses.
    """
    mend_dvc()
    studies, owners = Studies(), stages_of(entries)
    locks = {
        owner: read_lock(pipeline_of(owner).with_name("dvc.lock")) for owner in set(owners.values())
    }
    waiting = [job for job, owner in owners.items() if not _is_known(job, locks[owner])]
    sound = {job.address for job in owners} - {job.address for job in waiting}
    lines, new = list[str](), list[str]()
    use_portable_for(recipes_of({job: owners[job] for job in waiting}, studies))
    for job in waiting:
        if not job.after <= sound:
            continue
        as_declared, said = _look_at(studies[owners[job]], job.kind, job.stage.partition("@")[2])
        lines += said
        if as_declared:
            sound.add(job.address)
            new.append(job.address)
    if new:
        for owner in set(owners.values()):
            write_behaviour(studies[owner])
        write_pipelines_of(owners)
        _dvc("commit", "--force", *new)
    left = len([job for job in waiting if job.address not in sound])
    return [*lines, f"{len(new)} stages are DVC's now; {left} are not run, or not to their end"]


def _look_at(study: Study, kind: str, key: str) -> tuple[bool, list[str]]:
    """Whether a stage's outputs are what it would make, and what to print of it."""
    if kind == "prepare":
        return _prepare_again(study, key)
    if kind == "evaluate":
        return True, _evaluate_again(study, key)
    outputs = _made_as_declared(study, kind, key)
    if outputs is not None and kind == "train" and (others := _others(key, outputs)):
        return False, [f"{key}: {one_line(others[0])} is not of its run; remove it"]
    return outputs is not None, []


def _prepare_again(study: Study, dataset: str) -> tuple[bool, list[str]]:
    """In its place, in one step; DVC would take away what is there before it knows of anything
    better.
    """
    if not (PREPARED / dataset).is_dir():
        return False, []
    try:
        prepare(study.params, dataset)
    except UserError as error:
        return False, [f"prepare@{dataset} is not made again, and DVC not told: {error}"]
    return True, []


def _made_as_declared(study: Study, kind: str, key: str) -> Mapping[str, str] | None:
    """The outputs of a finished run of what this checkout declares, if all of them lie there."""
    identity = identity_of(study, kind, key)
    if identity is None:
        return None
    ended = None
    with suppress(UserError):  # one that is damaged answers for nothing
        ended = read_outcome(run_folder(identity.fingerprint))
    sound = (
        ended is not None
        and ended.status == "FINISHED"
        and ended.outputs.keys() >= outputs_of(identity, kind)
        and all(
            Path(path).is_file() and file_digest(Path(path)) == sha256
            for path, sha256 in ended.outputs.items()
        )
    )
    return ended.outputs if ended is not None and sound else None


def _others(key: str, outputs: Collection[str]) -> list[str]:
    """What lies in a cell's folder of weights and its run did not write; DVC takes the folder as it
    is, without what a writer that was killed has left.
    """
    found = sorted(path for path in (WEIGHTS / key).rglob("*") if not path.is_dir())
    names = [path.as_posix() for path in found if path.suffix != PARTIAL]
    return [name for name in names if name not in outputs]


def _evaluate_again(study: Study, key: str) -> list[str]:
    path = evaluated(study.name) / f"{key}.json"
    before = path.read_bytes() if path.exists() else None
    result = evaluate_and_keep(study, key, "cpu")
    if before in (None, path.read_bytes()):
        return []
    return [f"{key}: evaluated here, {result.target.last.top1:.2f} %; last digits were others"]


def _is_known(job: Job, lock: Mapping[str, Any]) -> bool:
    """Whether DVC's lock has a stage with the small files that lie there now."""
    outs = lock.get(job.stage, {}).get("outs", [])
    small = [out for out in outs if str(out.get("path", "")).startswith("results/")]
    return bool(outs) and all(is_md5(out["path"], out.get("md5")) for out in small)


def _dvc(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", *words],
        capture_output=True,
        text=True,
        env=os.environ | {"DVC_NO_ANALYTICS": "1"},
    )
    if BUSY in done.stderr:
        raise UserError(f"{who_is_at_work()}; the same command goes on once that has ended")
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-400:]
        raise UserError(f"dvc {words[0]} ended with code {done.returncode}: {said}")
