"""Steps of a method outside a run: for counting, timing and benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from orc_repro.data.batches import Augmentation, ResidentImages, draw_epoch
from orc_repro.distill import Method, StepResult
from orc_repro.training.streams import generator


class Rehearsal:
    """A method and some batches; call it to make one step, round and round."""

    def __init__(self, method: Method, images: ResidentImages, batch_size: int) -> None:
        self.method, self._images, self._next = method, images, 0
        device = images.labels.device
        batches = draw_epoch(
            len(images), batch_size, images.augmentation, generator(0, "batches", 0)
        )
        self._steps = len(batches.order)
        draws = method.draw_epoch(self._steps, batch_size, generator(0, "method", 0))
        self._batches = batches.to(device)
        self._draws = {name: tensor.to(device) for name, tensor in draws.items()}

    def __call__(self) -> StepResult:
        """Make one step, its batch's augmentation included."""
        i, batches = self._next, self._batches
        batch = self._images.augmented(
            batches.order[i], batches.dy[i], batches.dx[i], batches.flip[i]
        )
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
