"""``prepare``: a source -> uint8 arrays, splits and a manifest."""

from __future__ import annotations

from pathlib import Path

from orc_repro.config import CifarData, DigitsData, Params
from orc_repro.data.manifest import Manifest
from orc_repro.data.prepared import write_prepared
from orc_repro.data.sources import SourceImages, read_cifar, read_digits, read_folder
from orc_repro.errors import UserError
from orc_repro.project import PREPARED


def prepare(params: Params, dataset: str) -> Manifest:
    """Prepare one dataset of ``params.yaml`` below ``data/prepared``."""
    if dataset not in params.data:
        raise UserError(f"params.yaml's data has no '{dataset}' (it has {', '.join(params.data)})")
    config = params.data[dataset]
    return write_prepared(
        _read(params, dataset),
        PREPARED / dataset,
        dataset=dataset,
        validation_fraction=config.validation_fraction,
        split_seed=config.split_seed,
    )


def _read(params: Params, dataset: str) -> SourceImages:
    config = params.data[dataset]
    if isinstance(config, DigitsData):
        return read_digits(config.test_fraction, config.split_seed)
    if isinstance(config, CifarData):
        return read_cifar(config.source, Path(config.root), config.download)
    return read_folder(Path(config.root))
