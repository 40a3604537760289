"""Steps of a method outside a run: for counting, timing and benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch

from orc_repro.data.batches import Augmentation, ResidentImages
from orc_repro.data.split import Batch, Split
from orc_repro.distill import Method, StepResult
from orc_repro.training.streams import generator


class Rehearsal:
    """A method and some batches; call it to make one step, round and round.

    Args:
        held: so many batches are made beforehand, and a step does not load its own; None where
            each is made within its step, as those of images that lie on the device are.
    """

    def __init__(
        self, method: Method, images: Split, batch_size: int, held: int | None = None
    ) -> None:
        self.method, self._images, self._batch_size, self._next = method, images, batch_size, 0
        steps = len(images) // batch_size
        self._steps = steps if held is None else min(held, steps)
        draws = method.draw_epoch(self._steps, batch_size, generator(0, "method", 0))
        self._draws = {name: tensor.to(images.device) for name, tensor in draws.items()}
        self._held = None if held is None else list(islice(self._epoch(), self._steps))
        self._batches: Iterator[Batch] = iter(())

    def _epoch(self) -> Iterator[Batch]:
        return self._images.augmented_batches(self._batch_size, generator(0, "batches", 0))

    def _batch(self, i: int) -> Batch:
        if self._held is not None:
            return self._held[i]
        if i == 0:
            self._batches = self._epoch()
        return next(self._batches)

    def __call__(self) -> StepResult:
        """Make one step; its batch's augmentation is part of it unless batches are held."""
        i = self._next
        batch = self._batch(i)
        self._next = (i + 1) % self._steps
        return self.method.step(*batch, {name: draw[i] for name, draw in self._draws.items()})


def noise_images(
    count: int, shape: tuple[int, int, int], num_classes: int, device: torch.device
) -> ResidentImages:
    """Random images [count, *shape] with random labels, to be cropped (by 4 pixels) and flipped."""
    draw = np.random.default_rng(0)
    return ResidentImages(
        draw.integers(0, 256, (count, *shape), dtype=np.uint8),
        draw.integers(0, num_classes, count),
        mean=[0.5] * shape[0],
        std=[0.25] * shape[0],
        augmentation=Augmentation(4, True),
        device=device,
    )


def held_bytes(method: Method) -> int:
    """What networks and optimizers hold once every network has been taught: weights, statistics,
    and a momentum for each weight that learns.
    """
    weights = {
        tensor.data_ptr(): tensor.nbytes
        for network in method.networks.values()
        for tensor in network.state_dict().values()
    }
    learned = {
        parameter.data_ptr(): parameter.nbytes
        for optimizer in method.optimizers.values()
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    total: int = sum(weights.values()) + sum(learned.values())
    return total


def seconds_of(work: Callable[[], object]) -> float:
    """How long a piece of work takes, on a GPU until it is done there."""
    _finish()
    began = time.perf_counter()
    work()
    _finish()
    return time.perf_counter() - began


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
