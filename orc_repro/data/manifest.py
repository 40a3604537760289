"""What a prepared set is, in one checked file beside its arrays."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from orc_repro.errors import UserError, one_line
from orc_repro.files import read_file
from orc_repro.fingerprint import digest

SPLITS = ("train", "validation", "test")
ARRAYS = tuple(f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels"))
MANIFEST = "manifest.json"

# A class name may become a file name; no separators, no dot in front, nothing invisible.
ClassName = Annotated[str, Field(pattern=r"^[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*$")]
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
    def content_digest(self) -> str:
        """SHA-256 of the images, labels and classes, whatever the set is called and came from."""
        names = ("dataset", "source", "version", "split_seed", "validation_fraction")
        return digest({key: value for key, value in asdict(self).items() if key not in names})

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


def load_manifest(folder: Path) -> Manifest:
    """Read and check a prepared set's manifest.

    Raises:
        UserError: the set is not prepared, or its manifest is damaged or of another version.
    """
    path = folder / MANIFEST
    try:
        content = read_file(path)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; run `orc-repro prepare {folder.name}` first"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    try:
        return TypeAdapter(Manifest).validate_json(content)
    except ValidationError as error:
        raise damaged(path, folder, first_finding(error)) from None


def damaged(path: Path, folder: Path, reason: str) -> UserError:
    """The error for a file of a set that is not as it was written."""
    why = one_line(" ".join(reason.split()))
    return UserError(f"{path} is damaged ({why}); run `orc-repro prepare {folder.name}` again")


def first_finding(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    finding = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in finding["loc"])
    message = finding["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
