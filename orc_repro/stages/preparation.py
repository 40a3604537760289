"""What prepared data was made from: noted on this machine, as the data itself cannot hold it.

A manifest is of images, and the same for the same images on every machine; it does not say where
they lay, or how a test split was drawn. So whoever prepares a set notes beside the runs, by the
set's digest, what ``params.yaml`` said. Nothing depends on a note: it is not there for data that
was prepared before, or elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from orc_repro.config import DataConfig
from orc_repro.data.manifest import Manifest
from orc_repro.errors import UserError
from orc_repro.files import write_json
from orc_repro.fingerprint import digest
from orc_repro.project import scratch


def note(manifest: Manifest, config: DataConfig) -> None:
    """Note that a set was made from this; what was noted of it before stays true.

    Raises:
        UserError: the machine's own folder cannot be written.
    """
    path = _folder(manifest) / f"{_digest(config)}.json"
    try:
        write_json(path, config.model_dump(mode="json"))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from None


def is_made_from(manifest: Manifest, config: DataConfig) -> bool | None:
    """Whether a set was made from this; None where nothing is known of it."""
    known = {path.stem for path in _folder(manifest).glob("*.json")}
    return _digest(config) in known if known else None


def _folder(manifest: Manifest) -> Path:
    return scratch() / "prepared" / manifest.digest


def _digest(config: DataConfig) -> str:
    return digest(config.model_dump(mode="json"))
