"""``pretrain``: a pivot is trained alone, once, before any cell that needs it."""

from __future__ import annotations

from orc_repro.cells import Study
from orc_repro.config import CeConfig, Group
from orc_repro.distill import build_method
from orc_repro.files import write_json
from orc_repro.fingerprint import file_digest
from orc_repro.project import PIVOTS, trained
from orc_repro.stages.identity import Identity
from orc_repro.stages.run import Run, manifest_of
from orc_repro.stages.train import history_of
from orc_repro.training.device import pick_device, set_up
from orc_repro.training.networks import build_network, save_weights


def pretrain(study: Study, key: str, device: str = "auto", restart: bool = False) -> bool:
    """Train a pivot; writes ``weights/pivots/<key>.safetensors`` of its last epoch.

    Returns:
        False if that was done before, and nothing had to be.
    """
    pivot = study.pivot(key)
    recipe = study.params.recipes[pivot.recipe]
    place = pick_device(device)
    set_up(recipe)
    manifest = manifest_of(pivot.dataset)
    alone = Group(pivot=None, students=(pivot.network,), target=pivot.network)
    identity = Identity(
        study=study.name,
        key=key,
        experiment="orc/pivots",
        dataset=pivot.dataset,
        group_name=pivot.network,
        group=alone,
        recipe_name=pivot.recipe,
        recipe=recipe,
        method_name="pretrain",
        method=CeConfig(kind="ce"),
        seed=pivot.seed,
        manifest=manifest,
        starts_from="random weights",
    )
    with Run(identity, place, study.params, restart) as run:
        if run.is_finished(trained(study.name) / f"{key}.json"):
            run.settle()
            return False
        # Another stream than a cell's: a student of the pivot's architecture is not its twin.
        network = build_network(pivot.network, manifest, pivot.seed, place, stream="pretrain")
        method = build_method(identity.method, alone, {pivot.network: network}, recipe.optimizer)
        done = run.train(method, pivot.network)
        weights = PIVOTS / f"{key}.safetensors"
        save_weights(network.state_dict(), weights)
        summary = trained(study.name) / f"{key}.json"
        write_json(summary, history_of(identity, done).model_dump(mode="json"))
        run.finish(
            {"training/history.json": summary}, file_digest(weights), [weights, summary], done
        )
    return True
