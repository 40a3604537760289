"""Say what the code computes for each entry of a study: one digest for each stage of DVC."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orc_repro.cells import Assistant, Cell, Study
from orc_repro.config import CeConfig
from orc_repro.distill import METHODS
from orc_repro.files import write_json
from orc_repro.fingerprint import digest
from orc_repro.pipelines import BEHAVIOUR
from orc_repro.probes.behaviour import digests_of
from orc_repro.probes.catalogue import (
    evaluation_probes,
    photos_of,
    preparation_probes,
    training_probes,
)


def write_behaviour(study: Study) -> Path:
    """Write a study's or pool's ``behaviour.json``, which its stages depend on.

    An entry changes when a probe does that the stage depends on, and with no other edit of code.

    Raises:
        UserError: there is no digest of a probe that is needed.
    """
    path = study.folder / BEHAVIOUR
    write_json(path, behaviour_of(study))
    return path


def behaviour_of(study: Study) -> dict[str, dict[str, str]]:
    """Return the digest of what each stage depends on, by stage and entry."""
    cells = study.cells
    return {
        "prepare": {
            name: _hash(preparation_probes(study.params.data[name])) for name in cells.datasets
        },
        "pretrain": {
            key: _hash(
                training_probes(
                    "pretrain",
                    (pivot.network,),
                    CeConfig(kind="ce"),
                    study.params.recipes[pivot.recipe],
                    photos_of(study.params.data[pivot.dataset]),
                )
            )
            for key, pivot in cells.pivots.items()
        },
        "assist": {
            key: _hash(_trained_by(study, "assist", entry))
            for key, entry in cells.assistants.items()
        },
        "train": {
            key: _hash(_trained_by(study, "train", cell)) for key, cell in cells.cells.items()
        },
        "evaluate": {key: _hash(_evaluated(study, cell)) for key, cell in cells.cells.items()},
    }


def _trained_by(study: Study, stage: str, entry: Cell | Assistant) -> list[str]:
    params, method = study.params, study.params.methods[entry.method]
    if stage == "assist":
        method = METHODS[method.kind].for_assistants(method)
    return training_probes(
        stage,
        _networks(study, entry),
        method,
        params.recipes[entry.recipe],
        photos_of(params.data[entry.dataset]),
    )


def _evaluated(study: Study, cell: Cell) -> list[str]:
    return evaluation_probes(_networks(study, cell), photos_of(study.params.data[cell.dataset]))


def _networks(study: Study, entry: Cell | Assistant) -> tuple[str, ...]:
    group, method = study.params.groups[entry.group], study.params.methods[entry.method]
    if isinstance(entry, Assistant):
        group = group.up_to(entry.network)
    return METHODS[method.kind].networks_of(group, method)


def _hash(names: Iterable[str]) -> str:
    return digest(digests_of(names))[:16]
