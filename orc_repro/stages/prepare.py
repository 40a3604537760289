"""``prepare``: a source -> uint8 arrays or an index, splits and a manifest."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
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
from orc_repro.errors import UserError, one_line, say
from orc_repro.files import write_json
from orc_repro.project import LISTINGS, PREPARED
from orc_repro.stages.jobs import Job
from orc_repro.stages.origin import keep, origin_of
from orc_repro.stages.preparation import note
from orc_repro.validation import read_json


def prepare(params: Params, dataset: str) -> Manifest:
    """Prepare one dataset of ``params.yaml`` below ``data/prepared``.

    Raises:
        UserError: the images cannot be used, or are not those that are listed for DVC.
    """
    config = _config(params, dataset)
    # Before anything is read: a change meanwhile is noticed later. A download is not there yet.
    origin = None if isinstance(config, CifarData) else origin_of(config)
    manifest = _write(config, dataset)
    note(manifest, config)
    keep(manifest, origin or origin_of(config))
    if isinstance(config, FolderData | ImagenetData):
        _tell_links(Path(config.root))
    return manifest


def _tell_links(root: Path) -> None:
    """Tell of splits and classes that were read from elsewhere: nobody need have looked."""
    splits = [root / name for name in ("train", "val", "test") if (root / name).is_dir()]
    links = [
        path
        for path in chain(splits, *(split.iterdir() for split in splits))
        if path.is_symlink() and path.is_dir() and not path.name.startswith(".")
        if not path.resolve().is_relative_to(root.resolve())
    ]
    if links:
        more = f" (and {len(links) - 1} more)" if len(links) > 1 else ""
        where = one_line(f"{links[0]} to {links[0].resolve()}")
        say("note", f"images were read through a link, {where}{more}")


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
