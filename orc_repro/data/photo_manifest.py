"""What a prepared set of photographs is: a manifest whose arrays are indexes, not images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from orc_repro.data.manifest import (
    MANIFEST,
    SPLITS,
    Manifest,
    Sha256,
    damaged,
    first_finding,
    load_manifest,
)
from orc_repro.files import read_file

SOURCE = "imagenet"

Part = Annotated[float, Field(gt=0, le=1)]
ShardName = Annotated[str, Field(pattern=r"^[a-z]+-[0-9]{5}-[0-9a-f]{16}\.rgb$")]


def index_name(split: str) -> str:
    """The file of a split's index."""
    return f"{split}.safetensors"


@dataclass(
    frozen=True,
    kw_only=True,
    config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False),
)
class PhotoManifest(Manifest):
    """A manifest of images that are read while training goes on.

    ``image_shape`` is that of a training crop, ``mean`` and ``std`` are declared, ``sha256`` is of
    the index of each split, which has the SHA-256 of each file.

    Attributes:
        resize: the shorter side before the crop, in evaluation.
        crop_area: least and greatest part of an image that a training crop takes.
        crop_ratio: least and greatest width : height of a training crop.
        form: the image files themselves, or shards of their pixels.
        shard_side: the shorter side of what shards hold, at most; None where there are none.
        shards: shard -> SHA-256 of the pixels in it, split by split in the order of the images.
    """

    resize: PositiveInt
    crop_area: tuple[Part, Part]
    crop_ratio: tuple[PositiveFloat, PositiveFloat]
    form: Literal["folder", "shards"]
    shard_side: PositiveInt | None
    shards: dict[ShardName, Sha256]

    @model_validator(mode="after")
    def _fields_agree(self) -> PhotoManifest:
        classes = len(self.class_names)
        if len(set(self.class_names)) != classes:
            raise ValueError("class_names must differ")
        if set(self.counts) != set(SPLITS):
            raise ValueError(f"counts must be of {', '.join(SPLITS)}")
        if any(len(counts) != classes for counts in self.counts.values()):
            raise ValueError(f"counts must have {classes} numbers a split")
        if not len(self.mean) == len(self.std) == self.in_channels:
            raise ValueError(f"mean and std must have {self.in_channels} numbers")
        if set(self.sha256) != {index_name(split) for split in SPLITS}:
            raise ValueError("sha256 must be of the three indexes")
        if (self.form == "shards") != bool(self.shards) or (self.form == "shards") == (
            self.shard_side is None
        ):
            raise ValueError(f"form {self.form} does not go with these shards")
        return self

    @property
    def crop(self) -> int:
        """The side of the square that a network sees."""
        return self.image_shape[1]


def load_any_manifest(folder: Path) -> Manifest:
    """Read and check a prepared set's manifest, whichever it is.

    Raises:
        UserError: see :func:`load_manifest`.
    """
    path = folder / MANIFEST
    try:
        content = read_file(path)
        found = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return load_manifest(folder)  # says what is wrong
    if not isinstance(found, dict) or found.get("source") != SOURCE:
        return load_manifest(folder)
    try:
        return TypeAdapter(PhotoManifest).validate_json(content)
    except ValidationError as error:
        raise damaged(path, folder, first_finding(error)) from None
