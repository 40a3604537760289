"""Photographs that are read, cropped and resized by worker processes while training goes on.

All that chance decides about a sample follows from a seed of its own, which is drawn for the epoch
on the CPU together with the order. So a batch is the same whoever reads it, however many workers
there are, and wherever an epoch goes on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from orc_repro.data.crops import (
    Crops,
    EvaluationView,
    Photos,
    TrainingView,
    View,
    Views,
    Wanted,
    settle,
    signals_left_to_whoever_trains,
)
from orc_repro.data.sources import Labels
from orc_repro.data.split import WHOLE, Batch
from orc_repro.errors import UserError, one_line


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
    return max(1, usable // (int(beside) if beside.isdecimal() and int(beside) else 1))


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
        self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32, device=device)
            for values in (views.mean, views.std)
        )

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
        return self._batches(TrainingView(self._views), order[first:, part], seeds[first:, part])

    def plain_batches(
        self, batch_size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        """Images as they are evaluated; see :class:`orc_repro.data.split.Split`."""
        stop = len(self) if stop is None else stop
        order = [torch.arange(b, min(b + batch_size, stop)) for b in range(start, stop, batch_size)]
        return self._batches(EvaluationView(self._views), order, order)

    def _batches(
        self, view: View, order: Sequence[Tensor] | Tensor, seeds: Sequence[Tensor] | Tensor
    ) -> Generator[Batch, None, None]:
        """Batches in the order of their images; whoever stops listening ends the workers."""
        if not len(order):
            return
        workers, ahead = min(self._workers.count, len(order)), self._workers.prefetch_batches
        # As many as are under way, and the one that is being read here.
        places = torch.empty(
            (workers * ahead + 2, len(order[0]), self._views.crop, self._views.crop, 3),
            dtype=torch.uint8,
        )
        if workers:
            places.share_memory_()  # type: ignore[no-untyped-call]
        loader = DataLoader(
            Crops(self._photos, view, places),
            sampler=_WantedBatches(order, seeds, len(places)),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=ahead if workers else None,
            worker_init_fn=settle,
            generator=torch.Generator(),  # or it would draw from the process's own
        )
        with signals_left_to_whoever_trains():
            made = iter(loader)
        try:
            for i, images in enumerate(order):
                try:
                    problem = next(made)
                except (RuntimeError, OSError, EOFError) as error:
                    raise (lost_worker(error) or error) from None
                if problem is not None:
                    raise problem
                pixels = places[i % len(places), : len(images)]
                labels = torch.from_numpy(self.labels[images.numpy()])
                yield self._normalised(pixels), labels.to(self._device, non_blocking=True)
        finally:
            # At once, whoever else still knows the iterator; it is said already who was killed.
            with contextlib.suppress(RuntimeError):
                getattr(made, "_shutdown_workers", bool)()

    def _normalised(self, pixels: Tensor) -> Tensor:
        """uint8 [B, H, W, C] -> float32 [B, C, H, W] on the device, by torchvision's arithmetic."""
        if self._device.type == "cpu":
            floats = normalised_on_host(pixels, self._mean, self._std)
        else:
            # By way of memory of its own, for the place is used again before the copy is made.
            moved = pixels.pin_memory().to(self._device, non_blocking=True)
            floats = moved.to(torch.float32).div_(255).sub_(self._mean).div_(self._std)
        return floats.permute(0, 3, 1, 2).to(torch.get_default_dtype())


def normalised_on_host(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(pixels / 255 - mean) / std, float32 [B, H, W, C], by the thread that asks and no other.

    torch would divide each operation among threads that wait for each other, and the workers have
    the processors. NumPy asks for large pages, too: a batch of small ones takes longer to get than
    to fill. An image after the other stays in the cache from one operation to the next.
    """
    rows = pixels.flatten(2).numpy()
    floats = np.empty(rows.shape, dtype=np.float32)
    # One value for each channel, again and again along a row.
    means, stds = (np.tile(values.numpy(), pixels.shape[2]) for values in (mean, std))
    for image, out in zip(rows, floats, strict=True):
        np.divide(image, np.float32(255), out=out, dtype=np.float32)
        out -= means
        out /= stds
    return torch.from_numpy(floats).view(pixels.shape)


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


class _WantedBatches:
    """An epoch's batches, each with its place."""

    def __init__(
        self, order: Sequence[Tensor] | Tensor, seeds: Sequence[Tensor] | Tensor, places: int
    ) -> None:
        self._order, self._seeds, self._places = order, seeds, places

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Wanted]:
        for i, (images, seeds) in enumerate(zip(self._order, self._seeds, strict=True)):
            yield Wanted(i % self._places, images.tolist(), seeds.tolist())
