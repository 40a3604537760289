"""Preparing photographs: every file is read to its end once, before any training.

So that nothing is found to be damaged in the middle of an epoch. What is written is small: a
manifest, and an index of each split with the SHA-256 of each file. With ``form: shards`` the pixels
are written as well, in a folder of their own that DVC does not copy into its cache.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import ValidationError

from orc_repro.config import ImagenetData
from orc_repro.data.index import Index, digest_of, make_index
from orc_repro.data.manifest import MANIFEST, SPLITS, first_finding
from orc_repro.data.photo_manifest import SOURCE, PhotoManifest, index_name
from orc_repro.data.photo_tree import TEST, TRAIN, VALIDATION, PhotoTree
from orc_repro.data.photos import Pixels, checked_size, decode
from orc_repro.data.prepared import _replacing
from orc_repro.data.shards import (
    Shard,
    finished,
    make_room,
    planned_shards,
    remove_others,
    shrunk,
    write_shard,
)
from orc_repro.data.sources import draw_stratified
from orc_repro.errors import UserError
from orc_repro.files import write_atomically, write_json

WINDOW = 4096  # pieces that are handed out at once; each takes some memory until it is done

Work = TypeVar("Work")
Done = TypeVar("Done")


def write_photo_set(
    tree: PhotoTree, config: ImagenetData, folder: Path, dataset: str
) -> PhotoManifest:
    """Read every image, describe the splits, and write shards where they are wanted.

    Where the tree has a split ``test``, ``val`` is the validation split; else ``val`` is the test
    split, and the validation split is drawn from the training images, the same fraction of every
    class.

    Raises:
        UserError: an image cannot be used, a class would be without an image in a split, the disk
            is too small, or the folder cannot be written.
    """
    indexes = {}
    for split, paths, labels in _splits(tree, config):
        _refuse_empty(labels, split, tree.class_names, dataset)
        indexes[split] = _checked(tree.root, paths, labels)
    shards: dict[str, str] = {}
    if config.form == "shards":
        indexes, shards = _sharded(tree.root, config, indexes, dataset)
    contents = {index_name(split): index.content() for split, index in indexes.items()}
    try:
        manifest = PhotoManifest(
            dataset=dataset,
            source=SOURCE,
            version=f"class folders, {tree.listing.files} images",
            image_shape=(3, config.crop, config.crop),
            class_names=tree.class_names,
            counts={split: _counts(index, config.classes) for split, index in indexes.items()},
            mean=config.mean,
            std=config.std,
            sha256={name: digest_of(content) for name, content in contents.items()},
            split_seed=config.split_seed,
            validation_fraction=None if TEST in tree.files else config.validation_fraction,
            resize=config.resize,
            crop_area=config.crop_area,
            crop_ratio=config.crop_ratio,
            form=config.form,
            shard_side=config.shards.side if shards else None,
            shards=shards,
        )
    except ValidationError as error:
        raise UserError(f"{dataset}: {first_finding(error)}") from None
    with _replacing(folder) as partial:
        for name, content in contents.items():
            write_atomically(partial / name, content)
        write_json(partial / MANIFEST, asdict(manifest))
    if shards:
        remove_others(Path(config.shards.root) / dataset, shards)
    return manifest


# --- which images ------------------------------------------------------------------------------


def _splits(
    tree: PhotoTree, config: ImagenetData
) -> Iterator[tuple[str, list[str], npt.NDArray[np.int64]]]:
    """For each split of the set its paths below the root, and labels."""
    train, labels = _paths(tree, TRAIN)
    if TEST in tree.files:
        kept, drawn = np.ones(len(labels), dtype=np.bool_), np.zeros(0, dtype=np.bool_)
        validation, validation_labels = (
            _paths(tree, VALIDATION) if VALIDATION in tree.files else ([], None)
        )
        test = _paths(tree, TEST)
    else:
        validation, validation_labels, test = [], None, _paths(tree, VALIDATION)
    if validation_labels is None:
        # The same stream of the seed as for images of one size.
        generator = np.random.default_rng(np.random.SeedSequence([config.split_seed, 1]))
        kept, drawn = draw_stratified(labels, config.validation_fraction, generator)
        validation = [train[i] for i in np.flatnonzero(drawn)]
        validation_labels = labels[drawn]
    yield SPLITS[0], [train[i] for i in np.flatnonzero(kept)], labels[kept]
    yield SPLITS[1], validation, validation_labels
    yield SPLITS[2], *test


def _paths(tree: PhotoTree, split: str) -> tuple[list[str], npt.NDArray[np.int64]]:
    paths, labels = [], []
    for label, (name, files) in enumerate(zip(tree.class_names, tree.files[split], strict=True)):
        paths += [f"{split}/{name}/{file}" for file, _ in files]
        labels += [label] * len(files)
    return paths, np.array(labels, dtype=np.int64)


def _counts(index: Index, classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(index.labels, minlength=classes).tolist())


def _refuse_empty(
    labels: npt.NDArray[np.int64], split: str, names: Sequence[str], dataset: str
) -> None:
    counts = np.bincount(labels, minlength=len(names)).tolist()
    if 0 in counts:
        name = names[counts.index(0)]
        raise UserError(f"{dataset}: class '{name}' would have no image in the {split} split")


# --- every file, once --------------------------------------------------------------------------


def _checked(root: Path, paths: list[str], labels: npt.NDArray[np.int64]) -> Index:
    """Sizes and hashes of a split's files, each of which was decoded.

    Raises:
        UserError: names the first file that cannot be used, and how many more there are.
    """

    def look(path: str) -> tuple[tuple[int, int], bytes] | UserError:
        try:
            content = _content(root / path)
            return checked_size(content, root / path), hashlib.sha256(content).digest()
        except UserError as error:
            return error

    found = list(side_by_side(look, paths))
    wrong = [entry for entry in found if isinstance(entry, UserError)]
    if wrong:
        more = f" (and {len(wrong) - 1:,} more images)" if len(wrong) > 1 else ""
        raise UserError(f"{wrong[0]}{more}; replace or remove it")
    good = [entry for entry in found if not isinstance(entry, UserError)]
    return make_index(
        paths,
        labels,
        np.array([size for size, _ in good], dtype=np.int64),
        np.frombuffer(b"".join(digest for _, digest in good), np.uint8).reshape(-1, 32),
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"the image {path} cannot be read: {error.strerror}") from None


def side_by_side(work: Callable[[Work], Done], pieces: Sequence[Work]) -> Iterator[Done]:
    """Results in order, of as many threads as there are processors: Pillow and hashing release
    Python's lock. An error or a signal ends them after the piece each one is at.
    """
    executor = ThreadPoolExecutor(os.cpu_count() or 1)
    with warnings.catch_warnings():
        # Of damaged EXIF data, which is not used.
        warnings.simplefilter("ignore")
        try:
            for start in range(0, len(pieces), WINDOW):
                yield from executor.map(work, pieces[start : start + WINDOW])
        finally:
            executor.shutdown(cancel_futures=True)


# --- shards ------------------------------------------------------------------------------------


def _sharded(
    root: Path, config: ImagenetData, indexes: dict[str, Index], dataset: str
) -> tuple[dict[str, Index], dict[str, str]]:
    """Write the shards that are not there yet.

    Returns:
        the indexes with the sizes of what is stored, and the SHA-256 of each shard's pixels.
    """
    side, folder = config.shards.side, Path(config.shards.root) / dataset
    stored = {split: _stored(index, side) for split, index in indexes.items()}
    plan = {
        shard: split
        for split, index in stored.items()
        for shard in planned_shards(split, index.sizes, index.sha256, side)
    }
    try:
        known = dict(
            zip(plan, side_by_side(lambda shard: finished(folder, shard), [*plan]), strict=True)
        )
        missing = [shard for shard, found in known.items() if found is None]
        make_room(folder, missing, dataset)

        def write(shard: Shard) -> str:
            index = stored[plan[shard]]
            images = (_resized(root, index, i, side) for i in range(shard.start, shard.stop))
            return write_shard(folder, shard, images)

        for done, (shard, found) in enumerate(
            zip(missing, side_by_side(write, missing), strict=True), start=1
        ):
            known[shard] = found
            print(f"{dataset}: shard {done} of {len(missing)} is written", file=sys.stderr)
    except OSError as error:
        raise UserError(f"the shards of {dataset} cannot be written to {folder}: {error}") from None
    return stored, {shard.name: str(found) for shard, found in known.items()}


def _stored(index: Index, side: int) -> Index:
    return Index(index.text, index.ends, index.labels, shrunk(index.sizes, side), index.sha256)


def _resized(root: Path, index: Index, image: int, side: int) -> Pixels:
    """An image as a shard has it, as torchvision's Resize makes it of a Pillow image; Pillow's
    arithmetic is the same on every machine.
    """
    path = root / index.path(image)
    content = _content(path)
    if hashlib.sha256(content).digest() != index.sha256[image].tobytes():
        raise UserError(f"{path} has changed while it was prepared; run the same command again")
    found = decode(content, path)
    height, width = index.sizes[image].tolist()
    if found.size != (width, height):
        found = found.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(found)
