"""A tree of class folders with photographs: its splits, its classes, and a listing of its files.

DVC would hash every file of a dependency whenever it looks, which for a million files takes longer
than is bearable. So it watches a listing instead: how many files, how many bytes, and a hash of
their names and sizes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from orc_repro.data.manifest import Sha256
from orc_repro.data.sources import Bounds, enter, images_of, visible
from orc_repro.errors import UserError
from orc_repro.ranges import Count
from orc_repro.validation import Strict

TRAIN, VALIDATION, TEST = "train", "val", "test"


@dataclass(frozen=True)
class PhotoTree:
    """The files of a tree, in the order of their names.

    Attributes:
        root: the folder that all of them are in.
        class_names: of the class folders, the same in every split.
        files: split of the tree -> for each class, names and sizes in bytes of its files.
    """

    root: Path
    class_names: tuple[str, ...]
    files: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]]

    @property
    def listing(self) -> Listing:
        """What DVC watches."""
        found = hashlib.sha256()
        count = size = 0
        for split, classes in self.files.items():
            for name, files in zip(self.class_names, classes, strict=True):
                for file, length in files:
                    found.update(os.fsencode(f"{split}/{name}/{file}\0{length}\n"))
                    count, size = count + 1, size + length
        return Listing(files=count, bytes=size, sha256=found.hexdigest())


class Listing(Strict):
    """``data/listings/<dataset>.json``: another one where a file has come, gone, or is replaced."""

    files: Count
    bytes: Count
    sha256: Sha256


def read_tree(root: Path, classes: int) -> PhotoTree:
    """List ``train``, and ``val`` and ``test`` where they have class folders; reads no image.

    Raises:
        UserError: a split or class is missing or empty, the classes are not as many as they should
            be or not the same in all splits, something is no file, or a link must not be followed.
    """
    if not root.is_dir():
        raise UserError(f"the image folder {root} does not exist")
    splits = {name: _classes(root, name) for name in (TRAIN, VALIDATION, TEST)}
    splits = {name: folders for name, folders in splits.items() if folders}
    if TRAIN not in splits or len(splits) == 1:
        raise UserError(f"{root} needs class folders in train and in val or test")
    names = tuple(splits[TRAIN])
    if len(names) != classes:
        raise UserError(
            f"{root / TRAIN} has {len(names)} class folders; there have to be {classes}"
        )
    for split in splits.keys() - {TRAIN}:
        for name in sorted(set(names) ^ set(splits[split])):
            lacking = split if name in names else TRAIN
            raise UserError(f"class '{name}' has no folder in {root / lacking}")
    inside = (root.resolve(),)
    return PhotoTree(
        root,
        names,
        {
            split: tuple(_sizes(folders[name], enter(root / split, inside)) for name in names)
            for split, folders in splits.items()
        },
    )


def _classes(root: Path, split: str) -> dict[str, Path]:
    """Class name -> its folder, by name; empty where the split is not there or has none."""
    folder = root / split
    if not folder.is_dir():
        return {}
    enter(folder, (root.resolve(),))
    # The official test split is a hundred thousand files and no folder: they are not looked at.
    with os.scandir(folder) as entries:
        if not any(entry.is_dir() for entry in entries):
            return {}
    return {path.name: path for path in visible(folder) if path.is_dir()}


def _sizes(folder: Path, bounds: Bounds) -> tuple[tuple[str, int], ...]:
    found = []
    for path in images_of(folder, bounds):
        try:
            status = path.stat()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
        if not S_ISREG(status.st_mode):
            raise UserError(f"{path} is not a file; a class folder holds images only")
        found.append((path.name, status.st_size))
    return tuple(found)
