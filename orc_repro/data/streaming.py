"""Photographs that are read, cropped and resized by worker processes while training goes on.

All that chance decides about a sample follows from a seed of its own, which is drawn for the epoch
on the CPU together with the order. So a batch is the same whoever reads it, however many workers
there are, and wherever an epoch goes on. The transforms are torchvision's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from orc_repro._torchvision import import_torchvision
from orc_repro.data.photos import Pixels
from orc_repro.data.sources import Labels
from orc_repro.data.split import WHOLE, Batch
from orc_repro.errors import UserError, one_line

Sample = tuple[Tensor, int]


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
class Workers:
    """Processes that read.

    Attributes:
        count: how many; 0 for none besides the one that trains.
        prefetch_batches: how many batches each of them is ahead.
    """

    count: int
    prefetch_batches: int


def available_workers() -> int:
    """One for each processor that this process may use, shared by torchrun's on this machine."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        usable = os.cpu_count() or 1
    beside = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, usable // (int(beside) if beside.isdigit() and int(beside) else 1))


class StreamedImages:
    """A :class:`Split` whose images are read when they are needed.

    Attributes:
        labels: of the images.
    """

    def __init__(
        self,
        photos: Photos,
        labels: Labels,
        views: Views,
        workers: Workers,
        device: torch.device,
    ) -> None:
        self._photos, self.labels, self._views = photos, labels, views
        self._workers, self._device = workers, device
        self._mean = torch.tensor(views.mean, dtype=torch.float32, device=device).view(-1, 1, 1)
        self._std = torch.tensor(views.std, dtype=torch.float32, device=device).view(-1, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Where the batches arrive."""
        return self._device

    def augmented_batches(
        self, batch_size: int, generator: torch.Generator, first: int = 0, part: slice = WHOLE
    ) -> Generator[Batch, None, None]:
        """An epoch; see :class:`orc_repro.data.split.Split`."""
        order, seeds = draw_samples(len(self), batch_size, generator)
        keys = _AugmentedKeys(order[first:, part], seeds[first:, part])
        return self._batches(_Augmented(self._photos, self.labels, self._views), keys)

    def plain_batches(
        self, batch_size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        """Images as they are evaluated; see :class:`orc_repro.data.split.Split`."""
        stop = len(self) if stop is None else stop
        keys = [range(b, min(b + batch_size, stop)) for b in range(start, stop, batch_size)]
        return self._batches(_Plain(self._photos, self.labels, self._views), keys)

    def _batches(self, samples: Dataset[Any], keys: Any) -> Generator[Batch, None, None]:
        """Batches in the order of their keys; whoever stops listening ends the workers."""
        loader = DataLoader(
            samples,
            batch_sampler=keys,
            num_workers=min(self._workers.count, len(keys)),
            prefetch_factor=self._workers.prefetch_batches
            if self._workers.count and keys
            else None,
            collate_fn=_collated,
            worker_init_fn=_settle,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # or it would draw from the process's own
        )
        batches = iter(loader)
        try:
            while True:
                try:
                    found = next(batches)
                except StopIteration:
                    return
                except (RuntimeError, OSError, EOFError) as error:
                    raise (lost_worker(error) or error) from None
                if isinstance(found, UserError):
                    raise found
                pixels, labels = found
                yield self._normalised(pixels), labels.to(self._device, non_blocking=True)
        finally:
            # At once, whoever else still knows the iterator; it is said already who was killed.
            with contextlib.suppress(RuntimeError):
                getattr(batches, "_shutdown_workers", bool)()

    def _normalised(self, pixels: Tensor) -> Tensor:
        """uint8 [B, H, W, C] -> float32 [B, C, H, W] on the device, by torchvision's arithmetic."""
        moved = pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        floats = moved.to(torch.float32, memory_format=torch.channels_last)
        return floats.div_(255).sub_(self._mean).div_(self._std)


def draw_samples(count: int, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """An epoch's order and a seed for each of its samples; the incomplete batch is dropped.

    Returns:
        int64 [steps, batch_size] each.

    Raises:
        UserError: there are fewer images than a batch holds.
    """
    if batch_size > count:
        raise UserError(f"a batch of {batch_size} is more than the {count} training images")
    shape = (count // batch_size, batch_size)
    order = torch.randperm(count, generator=generator)
    seeds = torch.randint(2**63 - 1, shape, generator=generator)
    return order[: shape[0] * batch_size].view(shape), seeds


def lost_worker(error: Exception) -> UserError | None:
    """What to say if an error is the end of a worker process; torch raises it at any place."""
    # A connection or a pipe breaks where the worker was about to hand a batch over.
    if "DataLoader worker" not in str(error) and not isinstance(error, OSError | EOFError):
        return None
    return UserError(
        f"a process that reads images has ended ({one_line(' '.join(str(error).split()), 200)});"
        " if memory is short, a lower loader.workers in params.yaml helps; the same command goes on"
    )


# --- what a worker does ------------------------------------------------------------------------


class _AugmentedKeys:
    """For each batch, which images with which seeds."""

    def __init__(self, order: Tensor, seeds: Tensor) -> None:
        self._order, self._seeds = order, seeds

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for order, seeds in zip(self._order, self._seeds, strict=True):
            yield list(zip(order.tolist(), seeds.tolist(), strict=True))


class _Augmented(Dataset[Any]):
    """Training crops, by image and seed."""

    def __init__(self, photos: Photos, labels: Labels, views: Views) -> None:
        import_torchvision()
        from torchvision.transforms import v2

        self._photos, self._labels = photos, labels
        self._size = [views.crop, views.crop]
        self._crop = v2.RandomResizedCrop(
            views.crop, scale=views.crop_area, ratio=views.crop_ratio, antialias=True
        )
        self._flip = v2.RandomHorizontalFlip(0.5 if views.flip else 0.0)

    def __getitem__(self, key: tuple[int, int]) -> Sample | UserError:
        from torchvision.transforms.v2 import functional

        image, seed = key
        try:
            pixels = self._photos.pixels(image)
        except UserError as error:
            return error
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            # The transform's own draws, of the size alone: a shard is read where it is cropped.
            where = self._crop.make_params([torch.empty(()).expand(3, *pixels.shape[:2])])
            top, left = where["top"], where["left"]
            part = pixels[top : top + where["height"], left : left + where["width"]].copy()
            cropped = torch.from_numpy(part).permute(2, 0, 1)
            found = self._flip(functional.resize(cropped, self._size, antialias=True))
        return found.permute(1, 2, 0), int(self._labels[image])


class _Plain(Dataset[Any]):
    """Images as they are evaluated: resized by Pillow, which is the same on every machine."""

    def __init__(self, photos: Photos, labels: Labels, views: Views) -> None:
        import_torchvision()
        from torchvision.transforms import v2

        self._photos, self._labels = photos, labels
        self._view = v2.Compose([v2.Resize(views.resize), v2.CenterCrop(views.crop)])

    def __getitem__(self, image: int) -> Sample | UserError:
        try:
            pixels = self._photos.pixels(image)
        except UserError as error:
            return error
        found = self._view(Image.fromarray(pixels))
        return torch.from_numpy(np.array(found)), int(self._labels[image])


def _collated(samples: list[Sample | UserError]) -> Any:
    """uint8 [B, H, W, C] and int64 [B]; or the first sample's error, which travels as it is."""
    for sample in samples:
        if isinstance(sample, UserError):
            return sample
    return default_collate(samples)


def _settle(_: int) -> None:
    """Leave signals to the process that trains: it finishes its step, and ends its workers."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    warnings.simplefilter("ignore")  # of damaged EXIF data, which is not used
