"""What a process that reads photographs makes of them. The transforms are torchvision's."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from orc_repro._torchvision import import_torchvision
from orc_repro.data.photos import Pixels
from orc_repro.errors import UserError
from orc_repro.interruption import SIGNALS


class Photos(Protocol):
    """Where pixels come from: files, or shards."""

    def pixels(self, image: int) -> Pixels:
        """Of an image, whole."""
        ...


@dataclass(frozen=True)
class Views:
    """What is made of an image.

    Attributes:
        crop: the side of the square that a network sees.
        crop_area: least and greatest part of the image that a training crop takes.
        crop_ratio: its least and greatest width : height.
        flip: whether every second training crop, by chance, is mirrored left to right.
        resize: in evaluation, the shorter side before the middle is cropped.
        mean: of each channel, on the 0..1 scale.
        std: of each channel, on the 0..1 scale.
    """

    crop: int
    crop_area: tuple[float, float]
    crop_ratio: tuple[float, float]
    flip: bool
    resize: int
    mean: Sequence[float]
    std: Sequence[float]


@dataclass(frozen=True)
class Wanted:
    """A batch to be made.

    Attributes:
        place: where it goes.
        images: what is in it.
        seeds: one for each image.
    """

    place: int
    images: Sequence[int]
    seeds: Sequence[int]


View = Callable[[Pixels, int], Tensor]
"""Pixels of an image and a seed -> uint8 [crop, crop, 3]."""


class Crops(Dataset[UserError | None]):
    """Fills places with batches. They are memory that all processes share and use again and again:
    to get as much anew for each batch takes as long as to fill it.
    """

    def __init__(self, photos: Photos, view: View, places: Tensor) -> None:
        """Args:
        photos: where pixels come from.
        view: what is made of them.
        places: uint8 [places, batch, crop, crop, 3].
        """
        self._photos, self._view, self._places = photos, view, places

    def __getitem__(self, wanted: Wanted) -> UserError | None:
        """Make a batch; or say what is wrong with an image, for the process that trains."""
        place = self._places[wanted.place]
        for i, (image, seed) in enumerate(zip(wanted.images, wanted.seeds, strict=True)):
            try:
                pixels = self._photos.pixels(image)
            except UserError as error:
                return error
            place[i] = self._view(pixels, seed)
        return None


class TrainingView:
    """A crop by chance, resized and perhaps mirrored; all chance follows from the seed."""

    def __init__(self, views: Views) -> None:
        import_torchvision()
        from torchvision.transforms import v2

        self._size = [views.crop, views.crop]
        self._crop = v2.RandomResizedCrop(
            views.crop, scale=views.crop_area, ratio=views.crop_ratio, antialias=True
        )
        self._flip = v2.RandomHorizontalFlip(0.5 if views.flip else 0.0)

    def __call__(self, pixels: Pixels, seed: int) -> Tensor:
        from torchvision.transforms.v2 import functional

        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            # The transform's own draws, of the size alone: a shard is read where it is cropped.
            where = self._crop.make_params([torch.empty(()).expand(3, *pixels.shape[:2])])
            top, left = where["top"], where["left"]
            part = pixels[top : top + where["height"], left : left + where["width"]].copy()
            cropped = torch.from_numpy(part).permute(2, 0, 1)
            found: Tensor = self._flip(functional.resize(cropped, self._size, antialias=True))
        return found.permute(1, 2, 0)


class EvaluationView:
    """The middle, resized by Pillow, which is the same on every machine."""

    def __init__(self, views: Views) -> None:
        import_torchvision()
        from torchvision.transforms import v2

        self._view = v2.Compose([v2.Resize(views.resize), v2.CenterCrop(views.crop)])

    def __call__(self, pixels: Pixels, seed: int) -> Tensor:
        return torch.from_numpy(np.array(self._view(Image.fromarray(pixels))))


@contextmanager
def signals_left_to_whoever_trains() -> Iterator[None]:
    """Processes that are started here never see a signal that asks to stop, from their first
    instant on: the process that trains finishes its step, and ends them. A signal that arrives
    meanwhile is handled afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def settle(_: int) -> None:
    """In a process that reads: say nothing of damaged EXIF data, which is not used."""
    warnings.simplefilter("ignore")
