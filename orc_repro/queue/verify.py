"""Whether a run that somebody brings is whole, and what this checkout would have made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from orc_repro.cells import Study
from orc_repro.distill import METHODS
from orc_repro.errors import UserError, one_line
from orc_repro.files import open_file, read_file, refuse_packed
from orc_repro.fingerprint import file_digest
from orc_repro.project import ASSISTANTS, PIVOTS, ROLES, WEIGHTS, evaluated, trained
from orc_repro.report.results import History, Result
from orc_repro.stages.identity import Identity
from orc_repro.stages.train import weights_digest
from orc_repro.tracking.description import Description
from orc_repro.tracking.outcome import Outcome, read_outcome
from orc_repro.tracking.records import committed, metrics_log, role_table, roles_log
from orc_repro.tracking.role_file import Extent, read_role_file
from orc_repro.tracking.runlog import FILES, Mark
from orc_repro.tracking.tracker import ABOUT
from orc_repro.training.checkpoints import Damaged, differences, read_state, saved
from orc_repro.training.networks import build_network, count_parameters, load_weights
from orc_repro.validation import Strict, read_json

OUTPUTS = "outputs"
"""Below a copy of a run folder: what the run wrote, under the paths of the checkout."""
_CPU = torch.device("cpu")


def verify_run(copy: Path, name: str, identity: Identity) -> Outcome | None:
    """Check a copy of a run folder; returns how the run ended, None if it has not.

    Raises:
        UserError: it is another run than this checkout would make, or damaged.
    """
    states = []
    try:
        for path in saved(copy):
            with open_file(path) as file:
                refuse_packed(file)
            states.append(read_state(path))
    except (Damaged, ValueError, OSError) as error:
        raise UserError(f"a checkpoint is damaged: {one_line(str(error))}") from None
    if name != identity.fingerprint:
        change = differences(states[-1].made_from, identity.made_from) if states else ""
        raise UserError(
            f"it was made from something else: {change or 'its fingerprint is another'}"
        )
    if any(state.fingerprint != name for state in states):
        raise UserError("a checkpoint is of another run")
    about: Description = read_json(Description, copy / ABOUT)
    ours = identity.description(_CPU)
    same = ("study", "cell", "row", "fingerprint", "epochs", "students")
    _compare(about, {key: getattr(ours, key) for key in same}, ABOUT)
    metrics, _ = metrics_log(copy).all(), roles_log(copy).all()
    committed(copy)
    outcome = read_outcome(copy)
    if outcome is not None and outcome.status == "FINISHED":
        found = [record.epoch for record in metrics]
        if found != list(range(identity.recipe.epochs)):
            raise UserError("its log does not have every epoch once")
    if states and not _covers(copy, states[-1].marks):
        raise UserError("its log is not the one that its newest checkpoint was written with")
    return outcome


def _covers(copy: Path, marks: Mapping[str, Mark]) -> bool:
    """Whether the logs begin with what a checkpoint's marks are of: without, no run can go on."""
    for name in FILES:
        content = read_file(copy / name) if (copy / name).exists() else b""
        mark = marks.get(name)
        if mark is None or len(content) < mark.length:
            return False
        if hashlib.sha256(memoryview(content)[: mark.length]).hexdigest() != mark.sha256:
            return False
    return True


def outputs_of(identity: Identity, kind: str) -> set[str]:
    """The paths of what a finished run has written."""
    key = identity.key
    summary = (trained(identity.study) / f"{key}.json").as_posix()
    if kind != "train":
        folder = PIVOTS if kind == "pretrain" else ASSISTANTS
        return {summary, (folder / f"{key}.safetensors").as_posix()}
    weights = {
        (WEIGHTS / key / which / f"{name}.safetensors").as_posix()
        for which in ("last", "best")
        for name in networks_of(identity)
    }
    return {summary, (ROLES / f"{key}.parquet").as_posix()} | weights


def networks_of(identity: Identity) -> tuple[str, ...]:
    """The networks of a cell's method."""
    return METHODS[identity.method.kind].networks_of(identity.group, identity.method)


def verify_outputs(
    copy: Path, outcome: Outcome, identity: Identity, study: Study, kind: str
) -> None:
    """Check what a finished run has written, and its result on the test split if there is one.

    Raises:
        UserError: names what does not fit.
    """
    found, key = copy / OUTPUTS, identity.key
    if not outcome.outputs.keys() >= outputs_of(identity, kind):
        raise UserError("it did not write what such a run writes")
    for name, sha256 in outcome.outputs.items():
        if file_digest(found / name) != sha256:
            raise UserError(f"{name} is not the file that the run wrote")
        if name.endswith(".safetensors"):
            network = identity.group.target if kind != "train" else Path(name).stem
            load_weights(build_network(network, identity.manifest, 0, _CPU), found / name)
    history: History = read_json(History, found / trained(study.name) / f"{key}.json")
    who = {"cell": key, "row": identity.row, "fingerprint": identity.fingerprint}
    who |= {"training_images": str(identity.manifest.count("train"))}
    if history.weights_digest is not None:
        who |= {"weights_digest": outcome.weights_digest}
    _compare(history, who, "its history")
    if len(history.epochs) != identity.recipe.epochs:
        raise UserError("its history has another number of epochs")
    if kind != "train":
        return
    if set(history.best) != set(networks_of(identity)):
        raise UserError("its history is of other networks")
    if weights_digest(found / WEIGHTS / key) != outcome.weights_digest:
        raise UserError("its weights are not those that came out")
    _verify_roles(found / ROLES / f"{key}.parquet", copy, identity)
    result = found / evaluated(study.name) / f"{key}.json"
    if result.exists():
        _verify_result(read_json(Result, result), outcome, identity, study)


def _verify_roles(path: Path, copy: Path, identity: Identity) -> None:
    import pandas as pd

    students, epochs = identity.group.students, identity.recipe.epochs
    steps = identity.manifest.count("train") // identity.recipe.batch_size
    theirs = read_role_file(path, Extent(students, epochs, epochs * steps))
    try:
        log = role_table(copy, students)
        pd.testing.assert_frame_equal(theirs, log, check_dtype=False)
    except AssertionError:
        raise UserError(f"{path.name} is not what the log of role changes says") from None


def _verify_result(result: Result, outcome: Outcome, identity: Identity, study: Study) -> None:
    cell, group = study.cell(identity.key), identity.group
    _compare(
        result,
        {
            "cell": identity.key,
            "row": identity.row,
            "fingerprint": identity.fingerprint,
            "weights_digest": outcome.weights_digest,
            "dataset": cell.dataset,
            "group": cell.group,
            "method": cell.method,
            "recipe": cell.recipe,
            "seed": str(cell.seed),
            "epochs": str(identity.recipe.epochs),
            "training_images": str(identity.manifest.count("train")),
            "target_name": group.target,
        },
        "its result",
    )
    parameters = {
        name: count_parameters(build_network(name, identity.manifest, 0, _CPU))
        for name in networks_of(identity)
    }
    if {name: found.parameters for name, found in result.networks.items()} != parameters:
        raise UserError("its result is of other networks")


def _compare(found: Strict, wanted: dict[str, object] | dict[str, str], where: str) -> None:
    for key, value in wanted.items():
        theirs = getattr(found, key)
        if theirs != value and str(theirs) != value:
            raise UserError(f"{where} is of another run: its {key} is another")
