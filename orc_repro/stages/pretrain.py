"""``pretrain`` and ``assist``: what is trained once, before any cell that needs it."""

from __future__ import annotations

from pathlib import Path

from orc_repro.cells import Study
from orc_repro.config import CeConfig, Group
from orc_repro.distill import METHODS, build_method
from orc_repro.errors import UserError
from orc_repro.files import discard, write_json
from orc_repro.fingerprint import file_digest
from orc_repro.processes.batch_norm import over_whole_batches
from orc_repro.processes.joining import join
from orc_repro.project import ASSISTANTS, PIVOTS, trained
from orc_repro.stages.given import given_file, take
from orc_repro.stages.identity import Identity
from orc_repro.stages.origin import check_origin
from orc_repro.stages.place import take_place
from orc_repro.stages.run import Run, manifest_of
from orc_repro.stages.train import digest_of, history_of, load_teachers, study_option
from orc_repro.training.device import pick_device
from orc_repro.training.networks import build_network, build_networks, save_weights


def identify_pivot(study: Study, key: str, weights: Path | None = None) -> Identity:
    """A pivot's identity; needs its prepared data, and the file of one that is given.

    Args:
        weights: where that file lies, if not where its declaration says.

    Raises:
        UserError: see :func:`given_file`.
    """
    pivot = study.pivot(key)
    file = None if pivot.weights is None else given_file(pivot, pivot.weights, weights)
    return Identity(
        study=study.name,
        key=key,
        experiment="orc/pivots",
        dataset=pivot.dataset,
        group_name=pivot.network,
        group=Group(pivot=None, students=(pivot.network,), target=pivot.network),
        recipe_name=pivot.recipe,
        recipe=study.params.recipes[pivot.recipe],
        method_name="pretrain" if file is None else "given",
        method=CeConfig(kind="ce"),
        seed=pivot.seed,
        manifest=manifest_of(pivot.dataset),
        starts_from="random weights" if file is None else file_digest(file),
        stage="pretrain",
        command=f"orc-repro pretrain {key}{study_option(study)}",
    )


def identify_assistant(study: Study, key: str) -> Identity:
    """An assistant's identity; needs its prepared data and its teachers' weights."""
    assistant = study.assistant(key)
    method = study.params.methods[assistant.method]
    return Identity(
        study=study.name,
        key=key,
        experiment="orc/assistants",
        dataset=assistant.dataset,
        group_name=assistant.group,
        group=study.params.groups[assistant.group].up_to(assistant.network),
        recipe_name=assistant.recipe,
        recipe=study.params.recipes[assistant.recipe],
        method_name=assistant.method,
        method=METHODS[method.kind].for_assistants(method),
        seed=assistant.seed,
        manifest=manifest_of(assistant.dataset),
        starts_from=digest_of(assistant.teachers),
        stage="assist",
        command=f"orc-repro assist {key}{study_option(study)}",
    )


def pretrain(
    study: Study,
    key: str,
    device: str = "auto",
    restart: bool = False,
    weights: Path | None = None,
) -> bool:
    """Train a pivot alone, or take it from elsewhere if it is declared so.

    Writes ``weights/pivots/<key>.safetensors`` of its last epoch.

    Args:
        weights: where a given pivot's file lies, if not where its declaration says.

    Returns:
        False if that was done before, and nothing had to be.

    Raises:
        UserError: see ``check_origin``, :func:`take` and ``Run.train``.
    """
    pivot = study.pivot(key)
    if pivot.weights is None and weights is not None:
        raise UserError(
            f"{key} is declared to be trained; a pivot that is given has its weights'"
            " source, name or file, and min_top1 under its row's pivot.weights in study.yaml"
        )
    check_origin(study.params, pivot.dataset)
    identity = identify_pivot(study, key, weights)
    if pivot.weights is None:
        return _train_once(study, identity, {}, PIVOTS, device, restart)
    file, least = given_file(pivot, pivot.weights, weights), pivot.weights.min_top1
    with join(pick_device(device)) as processes:  # one is enough
        return not processes.leads or take(study, identity, file, least, device, restart)


def assist(study: Study, key: str, device: str = "auto", restart: bool = False) -> bool:
    """Train an assistant of a chain, as the target of what is larger in its group.

    Writes ``weights/assistants/<key>.safetensors`` of its last epoch. Returns as :func:`pretrain`.
    """
    check_origin(study.params, study.assistant(key).dataset)
    identity, teachers = identify_assistant(study, key), study.assistant(key).teachers
    return _train_once(study, identity, teachers, ASSISTANTS, device, restart)


def _train_once(
    study: Study,
    identity: Identity,
    teachers: dict[str, str],
    folder: Path,
    device: str,
    restart: bool,
) -> bool:
    recipe, group, key = identity.recipe, identity.group, identity.key
    place = take_place(device, recipe)
    weights, summary = folder / f"{key}.safetensors", trained(study.name) / f"{key}.json"
    with (
        join(place) as processes,
        Run(identity, place, study.params, restart, processes) as run,
    ):
        if run.is_finished(summary):
            run.settle()
            return not processes.leads
        # Another stream than a cell's: a student of the same architecture is not its twin.
        target = build_network(
            group.target, identity.manifest, identity.seed, place, stream="pretrain"
        )
        networks = build_networks(tuple(teachers), identity.manifest, identity.seed, place)
        load_teachers(networks, teachers)
        networks[group.target] = target
        if recipe.batch_norm == "batch" and processes.count > 1:
            over_whole_batches(networks.values(), place)
        method = build_method(identity.method, group, networks, recipe, processes)
        done = run.train(method, group.target)
        if not processes.leads:
            return True
        discard(summary)  # a kill before it is written again leaves the network untrained
        save_weights(target.state_dict(), weights)
        made = file_digest(weights)
        write_json(summary, history_of(identity, done, made).model_dump(mode="json"))
        run.finish({"training/history.json": summary}, made, [weights, summary], done)
    return True
