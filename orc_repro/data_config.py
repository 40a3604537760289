"""Datasets as ``params.yaml`` declares them; ``source`` says which kind one is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from orc_repro.ranges import Classes, InnerFraction, InnerPart, Pixels, Ratio, Seed, Spread
from orc_repro.validation import Strict


class DigitsData(Strict):
    """The handwritten digits that come with scikit-learn; no download, no official test split."""

    source: Literal["digits"]
    test_fraction: InnerFraction
    validation_fraction: InnerFraction
    split_seed: Seed


class CifarData(Strict):
    """CIFAR-10 or CIFAR-100 as torchvision reads it, below ``root``."""

    source: Literal["cifar10", "cifar100"]
    root: str
    download: bool
    validation_fraction: InnerFraction
    split_seed: Seed


class FolderData(Strict):
    """``root/train/<class>/*`` and ``root/test|val/<class>/*``; images of one size."""

    source: Literal["folder"]
    root: str
    validation_fraction: InnerFraction
    split_seed: Seed


class Shards(Strict):
    """Images stored once below ``root``, their shorter side at most ``side`` pixels."""

    root: str
    side: Pixels


class ImagenetData(Strict):
    """``root/{train,val,test}/<class>/*`` of photographs of any size, read while training goes on.

    ``classes``: how many class folders there have to be. ``form``: the files themselves
    (``folder``), or what ``prepare`` makes of them once (``shards``). ``crop_area`` and
    ``crop_ratio`` are torchvision's random resized crop: the least and the greatest part of an
    image, and of its width to its height; it becomes ``crop`` pixels square. For evaluation the
    shorter side becomes ``resize`` pixels, of which the middle ``crop`` are taken. ``mean`` and
    ``std`` of each channel, on the 0..1 scale.
    """

    source: Literal["imagenet"]
    root: str
    classes: Classes
    validation_fraction: InnerFraction
    split_seed: Seed
    form: Literal["folder", "shards"]
    shards: Shards
    resize: Pixels
    crop: Pixels
    crop_area: tuple[InnerPart, InnerPart] = Field(strict=False)
    crop_ratio: tuple[Ratio, Ratio] = Field(strict=False)
    mean: tuple[InnerFraction, InnerFraction, InnerFraction] = Field(strict=False)
    std: tuple[Spread, Spread, Spread] = Field(strict=False)

    @model_validator(mode="after")
    def _sides_and_ranges_agree(self) -> ImagenetData:
        if self.crop > self.resize:
            raise ValueError(f"crop {self.crop} is more than resize {self.resize}")
        if self.shards.side < self.resize:
            raise ValueError(f"shards.side {self.shards.side} is less than resize {self.resize}")
        for name in ("crop_area", "crop_ratio"):
            least, greatest = getattr(self, name)
            if least > greatest:
                raise ValueError(f"{name} must ascend, got {[least, greatest]}")
        return self


DataConfig = Annotated[
    DigitsData | CifarData | FolderData | ImagenetData, Field(discriminator="source")
]
