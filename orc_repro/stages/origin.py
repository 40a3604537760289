"""Record what a prepared set was read from, and notice when that changes.

DVC notices changed images for the stages that it runs itself. Commands without DVC compare names,
sizes and times with a record that ``prepare`` keeps on this machine, by the digest of the manifest.
The prepared set cannot hold it: it is a DVC output, and the same on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from stat import S_ISREG

from pydantic import Field

from orc_repro.config import CifarData, DataConfig, DigitsData, ImagenetData, Params
from orc_repro.data.manifest import Manifest, Sha256
from orc_repro.data.photo_manifest import load_any_manifest
from orc_repro.data.photo_tree import Listing, read_tree
from orc_repro.data.sources import list_folder
from orc_repro.errors import UserError, one_line, say
from orc_repro.files import write_json
from orc_repro.fingerprint import file_digest
from orc_repro.project import PREPARED, scratch
from orc_repro.ranges import Count
from orc_repro.validation import Strict, read_json

CIFAR_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
"""Where torchvision unpacks the archives."""


class SourceFile(Strict):
    """A file of a source; its content is read again only where size or time differ."""

    size: Count
    mtime_ns: Count
    sha256: Sha256


class Origin(Strict):
    """What a set was read from: each file, or the listing of photographs.

    Photographs are a million files; training verifies the content of each one that it reads.
    """

    files: dict[str, SourceFile] = Field(default_factory=dict)
    listing: Listing | None = None


def origin_of(config: DataConfig) -> Origin:
    """Describe a dataset's source as it is now; reads the content of all files but photographs.

    Raises:
        UserError: the source is not as its reader needs it.
    """
    if isinstance(config, ImagenetData):
        return Origin(listing=read_tree(Path(config.root), config.classes).listing)
    return Origin(files={name: _described(path) for name, path in _files(config).items()})


def keep(manifest: Manifest, origin: Origin) -> None:
    """Record what a set was read from.

    Raises:
        UserError: the machine's own folder cannot be written.
    """
    path = _path(manifest)
    try:
        write_json(path, origin.model_dump(mode="json"))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from None


def check_origin(params: Params, dataset: str) -> None:
    """Refuse to work on a set whose source has changed; tell where that cannot be known.

    Raises:
        UserError: names the dataset, what has changed, and the command that prepares it.
    """
    if change := change_of(params, dataset):
        raise UserError(change)
    leads = os.environ.get("RANK", "0") == "0"  # of several processes one tells it
    if leads and (doubt := doubt_about(params, dataset)):
        say("note", doubt)


def change_of(params: Params, dataset: str) -> str:
    """Say how a dataset's source differs from what its prepared set was read from.

    Returns:
        a sentence; empty where nothing has changed, or where set, source or record are not here.
    """
    config, manifest = params.data.get(dataset), _manifest(dataset)
    if config is None or manifest is None or not _place(config).exists():
        return ""
    origin = _recorded(manifest)
    if origin is None:
        return ""
    try:
        change = _difference(origin, config, manifest)
    except UserError as error:
        change = str(error)
    return change and (
        f"{PREPARED / dataset} is not made from what {_place(config)} holds now: {change}; run"
        f" `orc-repro prepare {dataset}`"
    )


def doubt_about(params: Params, dataset: str) -> str:
    """Say that a prepared set has no record, though its source is here; else an empty sentence."""
    config, manifest = params.data.get(dataset), _manifest(dataset)
    if config is None or manifest is None or not _place(config).exists() or _recorded(manifest):
        return ""
    return (
        f"a change in {_place(config)} would not be noticed, as {PREPARED / dataset} was prepared"
        f" elsewhere or by an earlier version; `orc-repro prepare {dataset}` records what it reads"
    )


def _manifest(dataset: str) -> Manifest | None:
    with suppress(UserError):  # whoever reads the set says what is wrong
        return load_any_manifest(PREPARED / dataset)
    return None


def _recorded(manifest: Manifest) -> Origin | None:
    with suppress(UserError):  # none, or a damaged one
        return read_json(Origin, _path(manifest))
    return None


def _path(manifest: Manifest) -> Path:
    return scratch() / "origins" / f"{manifest.digest}.json"


def _place(config: DataConfig) -> Path:
    """The folder of a source, or the file that scikit-learn brings; it need not be here."""
    if isinstance(config, DigitsData):
        library = find_spec("sklearn")
        package = Path((library and library.origin) or "scikit-learn/__init__.py").parent
        return package / "datasets" / "data" / "digits.csv.gz"
    if isinstance(config, CifarData):
        return Path(config.root) / CIFAR_FOLDERS[config.source]
    return Path(config.root)


def _files(config: DataConfig) -> dict[str, Path]:
    """The files of a source by their paths below its folder."""
    place = _place(config)
    if isinstance(config, DigitsData):
        return {place.name: place}
    if isinstance(config, CifarData):
        return {path.name: path for path in sorted(place.iterdir()) if path.is_file()}
    return {
        path.relative_to(place).as_posix(): path
        for classes in list_folder(place).values()
        for paths in classes.values()
        for path in paths
    }


def _state(path: Path) -> tuple[int, int]:
    """Size and time of a file."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if not S_ISREG(status.st_mode):  # a pipe would be read without end
        raise UserError(f"{path} is not a file; a class folder holds images only")
    return status.st_size, status.st_mtime_ns


def _described(path: Path) -> SourceFile:
    size, mtime_ns = _state(path)
    try:
        return SourceFile(size=size, mtime_ns=mtime_ns, sha256=file_digest(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def _difference(origin: Origin, config: DataConfig, manifest: Manifest) -> str:
    """What has changed; empty if nothing has. Files that were only touched are recorded anew."""
    if isinstance(config, ImagenetData):
        now, before = read_tree(Path(config.root), config.classes).listing, origin.listing
        if before in (now, None):
            return ""
        return f"{now.files:,} files, {before.files:,} before, or other names or sizes"
    paths, known = _files(config), origin.files
    touched = {
        name: _described(path)
        for name, path in paths.items()
        if name in known and _state(path) != (known[name].size, known[name].mtime_ns)
    }
    changed = [name for name, file in touched.items() if file.sha256 != known[name].sha256]
    new, gone = paths.keys() - known.keys(), known.keys() - paths.keys()
    if touched and not (changed or new or gone):
        with suppress(UserError):  # they are read again the next time
            keep(manifest, Origin(files=known | touched))
    kinds = (("changed", changed), ("new", new), ("gone", gone))
    return ", ".join(_counted(names, kind) for kind, names in kinds if names)


def _counted(names: Collection[str], kind: str) -> str:
    count = f"{len(names):,} files are" if len(names) > 1 else "a file is"
    return f"{count} {kind} ({one_line(min(names), 100)})"
