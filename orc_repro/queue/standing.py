"""How far the stages of the queue are, from files alone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from orc_repro.cells import Study
from orc_repro.config import DigitsData
from orc_repro.data.manifest import Manifest
from orc_repro.errors import UserError
from orc_repro.project import (
    ASSISTANTS,
    PIVOTS,
    ROLES,
    WEIGHTS,
    evaluated,
    run_folder,
    trained,
)
from orc_repro.queue.known import are_others, is_known
from orc_repro.report.results import History, Result
from orc_repro.stages.identity import Identity
from orc_repro.stages.preparation import is_made_from
from orc_repro.stages.pretrain import identify_assistant, identify_pivot
from orc_repro.stages.run import is_running, manifest_of
from orc_repro.stages.train import identify
from orc_repro.training.checkpoints import saved
from orc_repro.validation import read_json

WEIGHTS_OF = {"pretrain": PIVOTS, "assist": ASSISTANTS}


def manifest_if_prepared(study: Study, dataset: str) -> Manifest | None:
    """A dataset's manifest, if it was prepared as ``params.yaml`` says now.

    Where it was not noted what it was made from, that is told from what a manifest says of it.
    """
    config = study.params.data[dataset]
    try:
        manifest = manifest_of(dataset)
    except UserError:
        return None
    source = "digits" if isinstance(config, DigitsData) else config.source
    same = manifest.source == source and manifest.split_seed == config.split_seed
    fraction = manifest.validation_fraction  # None: the source has a split of its own
    if not same or fraction not in (None, config.validation_fraction):
        return None
    return None if is_made_from(manifest, config) is False else manifest


def identity_of(study: Study, kind: str, key: str) -> Identity | None:
    """Who a stage's run is; None as long as what it starts from is not there."""
    if kind == "pretrain":
        dataset, teachers = study.pivot(key).dataset, dict[str, str]()
    else:
        entry = study.assistant(key) if kind == "assist" else study.cell(key)
        dataset, teachers = entry.dataset, entry.teachers
    manifest = manifest_if_prepared(study, dataset)
    if manifest is None or not all(Path(path).is_file() for path in teachers.values()):
        return None
    if kind == "pretrain":
        with suppress(UserError):  # one that is given, and whose file is not here
            return identify_pivot(study, key)
        return None
    if kind == "assist":
        return identify_assistant(study, key)
    return identify(study, key, study.cell(key), manifest)


def is_measured(study: Study, key: str) -> bool:
    """Whether a cell has a result of what this checkout declares.

    Where what it starts from is here, of the same fingerprint. Elsewhere a result that came with
    git counts by its row (all but the code), and without the data as it is.
    """
    path = evaluated(study.name) / f"{key}.json"
    if not path.exists():
        return False
    result: Result = read_json(Result, path)
    identity = identity_of(study, "train", key)
    if identity is not None:
        return result.fingerprint == identity.fingerprint
    cell = study.cell(key)
    manifest = manifest_if_prepared(study, cell.dataset)
    return manifest is None or result.row == identify(study, key, cell, manifest).row


def is_done(study: Study, kind: str, key: str) -> bool:
    """Whether a stage's outputs are there, made from what this checkout holds.

    A teacher's weights go into all that is compared, so they count only if a run or DVC knows them.
    """
    if kind == "prepare":
        return manifest_if_prepared(study, key) is not None
    if kind == "evaluate":
        return is_measured(study, key)
    summary = trained(study.name) / f"{key}.json"
    identity = identity_of(study, kind, key) if summary.exists() else None
    if identity is None:
        return False
    history: History = read_json(History, summary)
    if history.fingerprint != identity.fingerprint:
        return False
    if kind in WEIGHTS_OF:
        weights = WEIGHTS_OF[kind] / f"{key}.safetensors"
        return weights.is_file() and is_known(
            study.folder, f"{kind}@{key}", identity.fingerprint, weights
        )
    names = [f"{which}/{name}" for which in ("last", "best") for name in history.best]
    outputs = [WEIGHTS / key / f"{name}.safetensors" for name in names]
    outputs.append(ROLES / f"{key}.parquet")
    # Weights of another branch may lie under the history that git has brought.
    return all(map(Path.is_file, outputs)) and not are_others(identity.fingerprint, outputs)


def is_busy(study: Study, kind: str, key: str) -> bool:
    """Whether another process of this machine trains it now, in the queue or not."""
    if kind not in ("pretrain", "assist", "train"):
        return False
    identity = identity_of(study, kind, key)
    return identity is not None and is_running(run_folder(identity.fingerprint))


def epochs_begun(study: Study, key: str) -> int | None:
    """How many epochs of a cell a checkpoint covers; None if there is none."""
    identity = identity_of(study, "train", key)
    found = [] if identity is None else saved(run_folder(identity.fingerprint))
    return int(found[-1].name.split("-")[1]) if found else None
