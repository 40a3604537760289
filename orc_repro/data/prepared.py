"""The prepared set: six arrays and a manifest in one folder, verified whenever they are read.

Preparing the same images with the same parameters gives the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import io
import math
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from orc_repro.data.manifest import (
    ARRAYS,
    MANIFEST,
    SPLITS,
    Manifest,
    damaged,
    first_finding,
    load_manifest,
)
from orc_repro.data.sources import Images, Labels, SourceImages, draw_stratified
from orc_repro.errors import UserError
from orc_repro.files import open_file, write_json
from orc_repro.memory import fits_into_memory

# --- writing ----------------------------------------------------------------------------------


def write_prepared(
    images: SourceImages,
    folder: Path,
    *,
    dataset: str,
    validation_fraction: float,
    split_seed: int,
) -> Manifest:
    """Split, describe and write a dataset; ``folder`` is replaced as a whole or not at all.

    The validation split is drawn from the training images, the same fraction of every class,
    unless the source has one of its own.

    Raises:
        UserError: a class would be without an image in a split, a channel has one value only, a
            class name cannot be a file name, or the folder cannot be written.
    """
    arrays = _split(images, validation_fraction, split_seed)
    classes = len(images.class_names)
    counts = {}
    for split in SPLITS:
        found = np.bincount(arrays[f"{split}_labels"], minlength=classes).tolist()
        if 0 in found:
            name = images.class_names[found.index(0)]
            raise UserError(f"{dataset}: class '{name}' would have no image in the {split} split")
        counts[split] = tuple(found)
    mean, std = _mean_and_std(arrays["train_images"])
    if 0 in std:
        raise UserError(f"{dataset}: channel {std.index(0)} has one value in all training images")
    try:
        manifest = Manifest(
            dataset=dataset,
            source=images.source,
            version=images.version,
            image_shape=images.train_images.shape[1:],
            class_names=images.class_names,
            counts=counts,
            mean=mean,
            std=std,
            sha256={name: _sha256(array) for name, array in arrays.items()},
            split_seed=split_seed,
            validation_fraction=validation_fraction if images.validation_images is None else None,
        )
    except ValidationError as error:
        raise UserError(f"{dataset}: {first_finding(error)}") from None
    with _replacing(folder) as partial:
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array, allow_pickle=False)
        write_json(partial / MANIFEST, asdict(manifest))
    return manifest


def _split(
    images: SourceImages, validation_fraction: float, split_seed: int
) -> dict[str, npt.NDArray[Any]]:
    """The six arrays by name, contiguous."""
    train_images, train_labels = images.train_images, images.train_labels
    validation_images, validation_labels = images.validation_images, images.validation_labels
    if validation_images is None or validation_labels is None:
        # Another stream of the seed than a test split that was drawn from it.
        generator = np.random.default_rng(np.random.SeedSequence([split_seed, 1]))
        train, validation = draw_stratified(train_labels, validation_fraction, generator)
        validation_images, validation_labels = train_images[validation], train_labels[validation]
        train_images, train_labels = train_images[train], train_labels[train]
    parts = (
        *(train_images, train_labels),
        *(validation_images, validation_labels),
        *(images.test_images, images.test_labels),
    )
    return {name: np.ascontiguousarray(part) for name, part in zip(ARRAYS, parts, strict=True)}


def _mean_and_std(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of each channel on the 0..1 scale; the sums are whole numbers, so no order of them counts."""
    channels = images.shape[1]
    total = np.zeros(channels, dtype=np.int64)
    squares = np.zeros(channels, dtype=np.int64)
    for start in range(0, len(images), 1024):  # 64-bit copies of a few images at a time
        block = images[start : start + 1024].astype(np.int64)
        total += block.sum(axis=(0, 2, 3))
        squares += (block * block).sum(axis=(0, 2, 3))
    count = images.size // channels
    mean = total / count / 255
    # The products may pass 64 bits, where Python's integers do not overflow.
    spread = [count * s - t * t for s, t in zip(squares.tolist(), total.tolist(), strict=True)]
    return tuple(mean.tolist()), tuple(math.sqrt(value) / count / 255 for value in spread)


def _sha256(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """An empty folder beside ``folder`` that takes its place if the block ends well."""
    token = uuid.uuid4().hex
    partial = folder.with_name(f".{folder.name}.{token}.partial")
    former = folder.with_name(f".{folder.name}.{token}.former")
    try:
        _sweep(folder)
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            folder.rename(former)
        partial.rename(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error}") from None
    finally:
        if former.exists() and not folder.exists():
            former.rename(folder)
        for leftover in (partial, former):
            shutil.rmtree(leftover, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Clear up after a process that was killed while it wrote this set."""
    for former in folder.parent.glob(f".{folder.name}.*.former"):
        if not folder.exists():  # it was killed between taking the old set away and the new in
            former.rename(folder)
    for pattern in (f".{folder.name}.*.partial", f".{folder.name}.*.former"):
        for leftover in folder.parent.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)


# --- reading ----------------------------------------------------------------------------------


def load_split(folder: Path, split: str, manifest: Manifest | None = None) -> tuple[Images, Labels]:
    """Read one split and verify it; the other splits' files are not opened.

    Args:
        folder: the prepared set.
        split: ``train``, ``validation`` or ``test``.
        manifest: the set's manifest, if it is at hand.

    Returns:
        uint8 [N, C, H, W] and int64 [N].

    Raises:
        UserError: an array is missing or not the one that the manifest describes.
    """
    manifest = manifest or load_manifest(folder)
    count = manifest.count(split)
    images = _load_array(
        folder, f"{split}_images", manifest, np.dtype(np.uint8), (count, *manifest.image_shape)
    )
    labels = _load_array(folder, f"{split}_labels", manifest, np.dtype(np.int64), (count,))
    return images, labels


def _load_array(
    folder: Path, name: str, manifest: Manifest, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    path = folder / f"{name}.npy"
    try:
        with open_file(path) as file:
            _check_header(file, dtype, shape)
            file.seek(0)
            array: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; run `orc-repro prepare {folder.name}` again"
        ) from None
    # A damaged header may be read as nearly anything: a pickle, a syntax error, a huge shape.
    except Exception as error:
        raise damaged(path, folder, str(error)) from None
    if _sha256(array) != manifest.sha256[name]:
        raise damaged(path, folder, "its SHA-256 is not the manifest's")
    return array


def _check_header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Refuse an array of another size before memory is taken for it.

    Raises:
        ValueError: says what is wrong.
    """
    if file.read(4) == b"PK\x03\x04":
        raise ValueError("it is an archive, not an array")
    file.seek(0)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):  # what np.save writes for plain types
        raise ValueError(f"its format {version} is not 1.0")
    found_shape, _, found_dtype = np.lib.format.read_array_header_1_0(file)
    if found_dtype != dtype or found_shape != shape:
        found = f"{found_dtype} {list(found_shape)}"
        raise ValueError(f"it holds {found}, not {dtype} {list(shape)}")
    size = math.prod(shape) * dtype.itemsize
    if not fits_into_memory(size):
        raise ValueError(f"{size} bytes are more than the memory of this machine")
    begin = file.tell()
    if file.seek(0, io.SEEK_END) - begin != size:
        raise ValueError(f"it does not hold {size} bytes")
    # numpy takes many a flipped bit in it for another way to say the same.
    file.seek(0)
    if file.read(begin) != _header(dtype, shape):
        raise ValueError("its header is not as it was written")


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    written = io.BytesIO()
    about = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(written, about)
    return written.getvalue()
