"""``pretrain`` of a pivot that was trained elsewhere: checked, evaluated, kept as if trained."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from orc_repro.cells import Pivot, Study
from orc_repro.config import architecture_of
from orc_repro.errors import UserError
from orc_repro.files import discard, write_json
from orc_repro.fingerprint import file_digest
from orc_repro.given.declaration import GivenWeights, TorchvisionWeights
from orc_repro.given.files import load_given, read_state
from orc_repro.given.published import check_published, fetched, published_url
from orc_repro.project import PIVOTS, trained
from orc_repro.report.results import BestEpoch, History
from orc_repro.stages.identity import Identity
from orc_repro.stages.place import take_place
from orc_repro.stages.run import open_split
from orc_repro.training.evaluate import evaluate
from orc_repro.training.networks import build_network, save_weights
from orc_repro.validation import read_json


def given_file(pivot: Pivot, declared: GivenWeights, elsewhere: Path | None) -> Path:
    """The file that a pivot's declaration means.

    Args:
        elsewhere: where it lies, if not where the declaration says.

    Raises:
        UserError: it cannot be had, or is another file.
    """
    if isinstance(declared, TorchvisionWeights):
        url = published_url(architecture_of(pivot.network), declared.name)
        if elsewhere is None:
            return fetched(url)
        check_published(elsewhere, url)
        return elsewhere
    path = elsewhere or Path(declared.path)
    try:
        found = file_digest(path)
    except OSError as error:
        raise UserError(f"the weights {path} cannot be read: {error.strerror}") from None
    if found != declared.sha256:
        raise UserError(
            f"the weights {path} are not those that are declared: their SHA-256 is {found}, not"
            f" {declared.sha256}"
        )
    return path


def take(
    study: Study, identity: Identity, path: Path, min_top1: float, device: str, restart: bool
) -> bool:
    """Make a file the weights of a pivot, unless it reaches too little on the validation split.

    Writes what training would have: ``weights/pivots/<key>.safetensors``, and a history without
    an epoch.

    Returns:
        False if that was done before, and nothing had to be.

    Raises:
        UserError: the file is damaged, of another network, or not good enough.
    """
    (name,), key, manifest = identity.group.students, identity.key, identity.manifest
    place = take_place(device, identity.recipe)
    network = build_network(name, manifest, identity.seed, place)
    load_given(network, read_state(path), path)
    weights, summary = PIVOTS / f"{key}.safetensors", trained(study.name) / f"{key}.json"
    if not restart and _is_there(identity, network, weights, summary):
        return False
    split = open_split(
        study.params, identity.dataset, "validation", manifest, identity.recipe, place
    )
    top1 = evaluate(network, split, manifest.num_classes).top1
    if top1 < min_top1:
        raise UserError(
            f"the weights {path} reach {top1:.2f} % on the validation images of"
            f" {identity.dataset}, less than min_top1 {min_top1:g}: they were not made for these"
            " images, or for another order of the classes"
        )
    discard(summary)  # a kill before it is written again leaves the pivot untrained
    save_weights(network.state_dict(), weights)
    history = History(
        cell=key,
        row=identity.row,
        fingerprint=identity.fingerprint,
        training_images=manifest.count("train"),
        epochs=(),
        best={name: BestEpoch(epoch=0, validation_top1=top1)},
        elected={},
        role_changes=0,
        not_finite=(),
        weights_digest=file_digest(weights),
    )
    write_json(summary, history.model_dump(mode="json"))
    return True


def _is_there(identity: Identity, network: nn.Module, weights: Path, summary: Path) -> bool:
    """Whether these weights were checked and kept before, from the same file by the same code."""
    try:
        fingerprint = read_json(History, summary).fingerprint
        kept = read_state(weights)
    except UserError:
        return False
    now = network.state_dict()
    return (
        fingerprint == identity.fingerprint
        and kept.keys() == now.keys()
        and all(torch.equal(kept[name], tensor.cpu()) for name, tensor in now.items())
    )
