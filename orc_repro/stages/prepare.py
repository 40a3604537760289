"""``prepare``: a source -> uint8 arrays or an index, splits and a manifest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orc_repro.config import (
    CifarData,
    DataConfig,
    DigitsData,
    FolderData,
    ImagenetData,
    Params,
)
from orc_repro.data.manifest import Manifest
from orc_repro.data.photo_set import write_photo_set
from orc_repro.data.photo_tree import Listing, read_tree
from orc_repro.data.prepared import write_prepared
from orc_repro.data.sources import SourceImages, read_cifar, read_digits, read_folder
from orc_repro.errors import UserError, one_line
from orc_repro.files import write_json
from orc_repro.project import LISTINGS, PREPARED
from orc_repro.stages.jobs import Job
from orc_repro.stages.preparation import note
from orc_repro.validation import read_json


def prepare(params: Params, dataset: str) -> Manifest:
    """Prepare one dataset of ``params.yaml`` below ``data/prepared``.

    Raises:
        UserError: the images cannot be used, or are not those that are listed for DVC.
    """
    config = _config(params, dataset)
    manifest = _write(config, dataset)
    note(manifest, config)
    return manifest


def _write(config: DataConfig, dataset: str) -> Manifest:
    if isinstance(config, ImagenetData):
        tree = read_tree(Path(config.root), config.classes)
        listed = listing_of(dataset)
        if listed.exists() and read_json(Listing, listed) != tree.listing:
            raise UserError(
                f"{config.root} has other files than {listed} says; if that is meant, run"
                f" `orc-repro list {dataset}`"
            )
        return write_photo_set(tree, config, PREPARED / dataset, dataset)
    return write_prepared(
        _read(config),
        PREPARED / dataset,
        dataset=dataset,
        validation_fraction=config.validation_fraction,
        split_seed=config.split_seed,
    )


def listing_of(dataset: str) -> Path:
    """What DVC watches in the place of a million files."""
    return LISTINGS / f"{dataset}.json"


def write_listing(params: Params, dataset: str) -> Listing | None:
    """List the files of a dataset of photographs, so that DVC prepares it again if they changed.

    Returns:
        None where DVC watches the files themselves.
    """
    config = _config(params, dataset)
    if not isinstance(config, ImagenetData):
        return None
    listing = read_tree(Path(config.root), config.classes).listing
    write_json(listing_of(dataset), listing.model_dump())
    return listing


def refresh_listings(params: Params, jobs: Iterable[Job]) -> None:
    """List anew what stages are to prepare, unless it is no longer on this machine.

    Raises:
        UserError: the files cannot be listed, and never were.
    """
    for job in jobs:
        dataset = job.stage.partition("@")[2]
        config = params.data.get(dataset)
        if job.kind != "prepare" or not isinstance(config, ImagenetData):
            continue
        if Path(config.root).is_dir() or not listing_of(dataset).exists():
            write_listing(params, dataset)


def _config(params: Params, dataset: str) -> DataConfig:
    if dataset not in params.data:
        raise UserError(
            f"params.yaml's data has no '{one_line(dataset)}' (it has {', '.join(params.data)})"
        )
    return params.data[dataset]


def _read(config: DigitsData | CifarData | FolderData) -> SourceImages:
    if isinstance(config, DigitsData):
        return read_digits(config.test_fraction, config.split_seed)
    if isinstance(config, CifarData):
        return read_cifar(config.source, Path(config.root), config.download)
    return read_folder(Path(config.root))
