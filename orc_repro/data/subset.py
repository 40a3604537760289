"""``subset``: a few images of each class of CIFAR, as a folder tree that is the same everywhere.

Which images: in each class those whose pixels have the smallest SHA-256. So it is a draw by lot
that does not depend on the order in which a copy of the data has them, and a smaller draw is part
of a larger one. Written as PPM, whose bytes are the pixels and nothing else, so that DVC knows the
tree again wherever it was made.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np

from orc_repro.data.sources import Images, Labels, read_cifar, read_folder
from orc_repro.errors import UserError, one_line

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
LARGEST_ARRAY = 512 * 2**20  # unpacked; the training images of either set take 154 million bytes
CLASSES = {"cifar10": 10, "cifar100": 100}


def write_subset(
    name: Literal["cifar10", "cifar100"],
    source: Path,
    to: Path,
    *,
    train_per_class: int,
    test_per_class: int,
    every_class: int = 1,
) -> dict[str, int]:
    """Draw and write ``to/{train,test}/<class>/<rank>.ppm``; returns how many of each split.

    Args:
        name: which set it is.
        source: torchvision's folder, a tree ``train/<class>/*`` and ``test/<class>/*``, or an .npz
            of ``x_train``, ``y_train``, ``x_test``, ``y_test``.
        to: must not exist; is there whole or not at all.
        every_class: take each class whose number is a multiple of this.

    Raises:
        UserError: the source is missing or another set, has too few images, or ``to`` exists.
    """
    if to.exists():
        raise UserError(f"{one_line(str(to))} exists; remove it, or name another folder")
    splits = _read(name, source)
    partial = to.with_name(f".{to.name}.{uuid.uuid4().hex}.partial")
    counts = {}
    try:
        for split, count in (("train", train_per_class), ("test", test_per_class)):
            images, labels = splits[split]
            for label in range(0, CLASSES[name], every_class):
                folder = partial / split / f"class{label:02d}"
                folder.mkdir(parents=True)
                members = np.ascontiguousarray(images[labels == label])
                if len(members) < count:
                    raise UserError(f"class {label} of {name} has {len(members)} {split} images")
                for rank, image in enumerate(drawn(members, count)):
                    (folder / f"{rank:05d}.ppm").write_bytes(_ppm(image))
            counts[split] = count * len(range(0, CLASSES[name], every_class))
        partial.rename(to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return counts


def drawn(images: Images, count: int) -> Images:
    """The images [N, C, H, W] whose pixels, channel by channel, have the smallest SHA-256."""
    order = sorted(range(len(images)), key=lambda i: hashlib.sha256(images[i].tobytes()).digest())
    return images[order[:count]]


def _ppm(image: Images) -> bytes:
    height, width = image.shape[1:]
    return f"P6\n{width} {height}\n255\n".encode() + image.transpose(1, 2, 0).tobytes()


def _read(name: Literal["cifar10", "cifar100"], source: Path) -> dict[str, tuple[Images, Labels]]:
    if source.suffix == ".npz":
        found = _read_arrays(source)
    else:
        if (source / "train").is_dir():
            read = read_folder(source)
        else:
            read = read_cifar(name, source, download=False)
        found = {
            "train": (read.train_images, read.train_labels),
            "test": (read.test_images, read.test_labels),
        }
    for images, labels in found.values():
        if images.shape[1:] != (3, 32, 32) or len(np.unique(labels)) != CLASSES[name]:
            raise UserError(f"{one_line(str(source))} is not {name}")
    return found


def _read_arrays(path: Path) -> dict[str, tuple[Images, Labels]]:
    try:
        with zipfile.ZipFile(path) as members:
            for name in ARRAYS:
                if members.getinfo(f"{name}.npy").file_size > LARGEST_ARRAY:
                    raise ValueError(f"{name} has more than {LARGEST_ARRAY} bytes")
        with np.load(path, allow_pickle=False) as archive:
            x_train, y_train, x_test, y_test = (np.asarray(archive[name]) for name in ARRAYS)
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = one_line(" ".join(str(error).split()), 200)
        raise UserError(f"{one_line(str(path))} cannot be read: {reason}") from None
    splits = {"train": (x_train, y_train), "test": (x_test, y_test)}
    for images, labels in splits.values():
        whole = images.dtype == np.uint8 and images.ndim == 4 and labels.ndim == 1
        if not whole or len(images) != len(labels) or labels.dtype.kind not in "iu":
            raise UserError(f"{one_line(str(path))} does not hold uint8 images and their labels")
    return {
        split: (np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels.astype(np.int64))
        for split, (images, labels) in splits.items()
    }
