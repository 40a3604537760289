"""The prepared set: six arrays and a manifest in one folder, verified whenever they are read.

Preparing the same images with the same parameters gives the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from orc_repro.data.sources import Images, Labels, SourceImages, draw_stratified
from orc_repro.errors import UserError
from orc_repro.fingerprint import digest, write_json

SPLITS = ("train", "validation", "test")
ARRAYS = tuple(f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels"))
MANIFEST = "manifest.json"

# A class name may become a file name; no separators, nothing invisible.
ClassName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f\x7f]+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class Manifest:
    """What a prepared set is; the same for the same images and splits.

    Attributes:
        dataset: its name in ``params.yaml``.
        source: the reader it came from.
        version: what that reader read.
        image_shape: channels, height, width.
        class_names: one a label.
        counts: split -> number of images of each label.
        mean: of each channel over the training split, on the 0..1 scale.
        std: population standard deviation, likewise.
        sha256: array -> SHA-256 of its raw data.
        split_seed: what the splits were drawn from.
        validation_fraction: of each class of the source's training images; None where the source
            has a validation split of its own.
        format_version: of this file.
    """

    dataset: str
    source: str
    version: str
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    class_names: tuple[ClassName, ...]
    counts: dict[str, tuple[PositiveInt, ...]]
    mean: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    std: tuple[Annotated[float, Field(gt=0, le=1)], ...]
    sha256: dict[str, Sha256]
    split_seed: int
    validation_fraction: float | None
    format_version: Literal[1] = 1

    @model_validator(mode="after")
    def _fields_agree(self) -> Manifest:
        classes = len(self.class_names)
        if len(set(self.class_names)) != classes:
            raise ValueError("class_names must differ")
        if set(self.counts) != set(SPLITS):
            raise ValueError(f"counts must be of {', '.join(SPLITS)}")
        if any(len(counts) != classes for counts in self.counts.values()):
            raise ValueError(f"counts must have {classes} numbers a split")
        if not len(self.mean) == len(self.std) == self.in_channels:
            raise ValueError(f"mean and std must have {self.in_channels} numbers")
        if set(self.sha256) != set(ARRAYS):
            raise ValueError(f"sha256 must be of {', '.join(ARRAYS)}")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the whole manifest, and with it of every pixel."""
        return digest(asdict(self))

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def in_channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.image_shape[0]

    def count(self, split: str) -> int:
        """Number of images in ``train``, ``validation`` or ``test``."""
        return sum(self.counts[split])


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
        raise UserError(f"{dataset}: {_first_finding(error)}") from None
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


# --- reading ----------------------------------------------------------------------------------


def load_manifest(folder: Path) -> Manifest:
    """Read and check a prepared set's manifest.

    Raises:
        UserError: the set is not prepared, or its manifest is damaged or of another version.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; run `orc-repro prepare {folder.name}` first"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    try:
        return TypeAdapter(Manifest).validate_json(content)
    except ValidationError as error:
        raise _damaged(path, folder, _first_finding(error)) from None


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
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; run `orc-repro prepare {folder.name}` again"
        ) from None
    # A damaged header may be read as nearly anything: a pickle, a syntax error, a huge shape.
    except Exception as error:
        raise _damaged(path, folder, str(error)) from None
    if not isinstance(array, np.ndarray):
        raise _damaged(path, folder, "it is an archive, not an array")
    if array.dtype != dtype or array.shape != shape:
        found = f"{array.dtype} {list(array.shape)}"
        raise _damaged(path, folder, f"it holds {found}, not {dtype} {list(shape)}")
    if _sha256(array) != manifest.sha256[name]:
        raise _damaged(path, folder, "its SHA-256 is not the manifest's")
    return array


def _damaged(path: Path, folder: Path, reason: str) -> UserError:
    one_line = " ".join(reason.split())
    return UserError(f"{path} is damaged ({one_line}); run `orc-repro prepare {folder.name}` again")


def _first_finding(error: ValidationError) -> str:
    finding = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in finding["loc"])
    message = finding["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
