"""``train``: one cell, from a recipe and a pivot to a group's weights and its role changes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from torch import nn

from orc_repro.cells import DEFAULT_STUDY, Cell, Study
from orc_repro.data.manifest import Manifest
from orc_repro.distill import METHODS, build_method
from orc_repro.errors import UserError
from orc_repro.files import discard, write_json
from orc_repro.fingerprint import digest, file_digest, file_md5
from orc_repro.processes.batch_norm import over_whole_batches
from orc_repro.processes.joining import join
from orc_repro.project import ROLES, WEIGHTS, run_folder, trained
from orc_repro.report.results import BestEpoch, History, finite
from orc_repro.stages.identity import Identity
from orc_repro.stages.origin import check_origin
from orc_repro.stages.place import take_place
from orc_repro.stages.run import Run, manifest_of
from orc_repro.tracking.outcome import read_outcome
from orc_repro.tracking.records import role_table
from orc_repro.training.networks import build_networks, load_weights, save_weights
from orc_repro.training.state import Progressed
from orc_repro.validation import read_json


def identify(study: Study, key: str, cell: Cell, manifest: Manifest) -> Identity:
    """A cell's identity; needs its prepared data and its pivot's weights to be there."""
    group, recipe, method = study.parts(cell)
    return Identity(
        study=study.name,
        key=key,
        experiment=study.cells.experiment,
        dataset=cell.dataset,
        group_name=cell.group,
        group=group,
        recipe_name=cell.recipe,
        recipe=recipe,
        method_name=cell.method,
        method=method,
        seed=cell.seed,
        manifest=manifest,
        starts_from=digest_of(cell.teachers),
        command=f"orc-repro run {key}{study_option(study)}",
        shown_in=f"{study.cells.experiment}/{cell.dataset}-{cell.group}",
    )


def study_option(study: Study) -> str:
    """What a command needs to find a study; nothing for the default one."""
    return "" if study.folder == DEFAULT_STUDY else f" --study {study.folder.as_posix()}"


def digest_of(teachers: Mapping[str, str]) -> str:
    """Hash the weights that a run's teachers start with; they need not be there.

    By MD5, so that a clone without the weights can compute it from ``dvc.lock``.
    """
    files = [Path(path) for path in teachers.values()]
    if not files or not all(file.exists() for file in files):
        return "random weights"
    return digest_of_weights(dict(zip(teachers, map(file_md5, files), strict=True)))


def digest_of_weights(hashes: Mapping[str, str]) -> str:
    """Return one hash over the MD5 of each teacher's weights, by name."""
    return next(iter(hashes.values())) if len(hashes) == 1 else digest(dict(hashes))


def load_teachers(networks: Mapping[str, nn.Module], teachers: Mapping[str, str]) -> None:
    """Give the networks that were trained before their weights."""
    for name, path in teachers.items():
        load_weights(networks[name], Path(path))


def train(study: Study, key: str, device: str = "auto", restart: bool = False) -> bool:
    """Train a cell.

    With several processes (see ``processes.launch``) all come here, and one writes. Writes
    ``weights/cells/<key>/{last,best}/<network>.safetensors``, ``roles/<key>.parquet`` and
    ``results/<study>/trained/<key>.json``, all of them functions of the cell's fingerprint.

    Returns:
        False if that was done before, and nothing had to be.

    Raises:
        UserError: see ``check_origin`` and ``Run.train``.
    """
    cell = study.cell(key)
    group, recipe, config = study.parts(cell)
    place = take_place(device, recipe)
    check_origin(study.params, cell.dataset)
    manifest = manifest_of(cell.dataset)
    identity = identify(study, key, cell, manifest)
    with (
        join(place) as processes,
        Run(identity, place, study.params, restart, processes) as run,
    ):
        if run.is_finished(trained(study.name) / f"{key}.json"):
            run.settle()
            return not processes.leads
        names = METHODS[config.kind].networks_of(group, config)
        networks = build_networks(names, manifest, cell.seed, place)
        load_teachers(networks, cell.teachers)
        if recipe.batch_norm == "batch" and processes.count > 1:
            over_whole_batches(networks.values(), place)
        method = build_method(config, group, networks, recipe, processes)
        done = run.train(method, group.target)
        if not processes.leads:
            return True

        folder, roles = WEIGHTS / key, ROLES / f"{key}.parquet"
        summary = trained(study.name) / f"{key}.json"
        discard(summary)  # a kill before it is written again leaves the cell untrained
        shutil.rmtree(folder, ignore_errors=True)
        for name, network in networks.items():
            save_weights(network.state_dict(), folder / "last" / f"{name}.safetensors")
            save_weights(done.best[name].weights, folder / "best" / f"{name}.safetensors")
        roles.parent.mkdir(parents=True, exist_ok=True)
        role_table(run.folder, group.students).to_parquet(roles, index=False)
        made = weights_digest(folder)
        write_json(summary, history_of(identity, done, made).model_dump(mode="json"))
        run.finish(
            {"roles/events.parquet": roles, "training/history.json": summary},
            made,
            [*sorted(folder.glob("*/*.safetensors")), roles, summary],
            done,
        )
    return True


def history_of(identity: Identity, done: Progressed, weights_digest: str | None = None) -> History:
    """Build what is kept of a training in git.

    Args:
        identity: whose training.
        done: what it came to.
        weights_digest: of the weights that are kept; None if none are.
    """
    return History(
        cell=identity.key,
        row=identity.row,
        fingerprint=identity.fingerprint,
        training_images=identity.manifest.count("train"),
        epochs=tuple({name: finite(v) for name, v in epoch.items()} for epoch in done.history),
        best={
            name: BestEpoch(epoch=best.epoch, validation_top1=best.top1)
            for name, best in done.best.items()
        },
        elected=done.elected,
        role_changes=done.role_changes,
        not_finite=tuple(str(bad) for bad in done.not_finite),
        processes=tuple(done.processes),
        weights_digest=weights_digest,
    )


def iterations_of(study: Study, key: str) -> int:
    """Count the iterations of a trained cell.

    Raises:
        UserError: it has not been trained.
    """
    history = _read_history(study, key)
    _, recipe, _ = study.parts(study.cell(key))
    return len(history.epochs) * (history.training_images // recipe.batch_size)


def check_weights(study: Study, key: str) -> None:
    """Refuse weights that another run has written than the one whose history lies beside them.

    Git brings a history and DVC the weights, so one may come without the other.

    Raises:
        UserError: the cell has not been trained, or its weights are another run's.
    """
    history, folder = _read_history(study, key), WEIGHTS / key
    made = history.weights_digest or _noted_digest(history.fingerprint)
    if made and any(folder.glob("*/*.safetensors")) and made != weights_digest(folder):
        raise UserError(
            f"the weights {folder} are not those of the run in {trained(study.name) / key}.json;"
            f" `orc-repro train {key}{study_option(study)}` makes both, or `dvc checkout` brings"
            " those that dvc.lock has"
        )


def _read_history(study: Study, key: str) -> History:
    path = trained(study.name) / f"{key}.json"
    if not path.exists():
        raise UserError(f"{path} does not exist; train the cell first")
    return read_json(History, path)


def _noted_digest(fingerprint: str) -> str:
    """The digest of the weights of a run that was finished here; empty if there is none."""
    with suppress(UserError):  # a damaged outcome tells nothing
        outcome = read_outcome(run_folder(fingerprint))
        if outcome is not None and outcome.status == "FINISHED":
            return outcome.weights_digest
    return ""


def weights_digest(folder: Path) -> str:
    """One hash over all of a cell's weights."""
    files = sorted(folder.glob("*/*.safetensors"))
    return digest({os.path.relpath(f, folder): file_digest(f) for f in files})
