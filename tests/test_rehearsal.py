"""Steps outside a run, on any split: what they load, and when."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import torch
from torch import Tensor

from benchmarks.group import networks
from orc_repro.config import Group, load_params
from orc_repro.data.split import WHOLE, Batch
from orc_repro.distill import StepResult, build_method
from orc_repro.rehearsal import Rehearsal, noise_images
from orc_repro.training.streams import generator

GROUP = Group(pivot=None, students=("resnet8",), target="resnet8")


class Counting:
    """A split that is no more than the protocol, and counts the batches that were taken."""

    def __init__(self, count: int) -> None:
        self._images = noise_images(count, (3, 8, 8), 10, torch.device("cpu"))
        self.epochs = self.batches = 0

    @property
    def device(self) -> torch.device:
        return self._images.device

    def __len__(self) -> int:
        return len(self._images)

    def augmented_batches(
        self, batch_size: int, generator: torch.Generator, first: int = 0, part: slice = WHOLE
    ) -> Generator[Batch, None, None]:
        self.epochs += 1
        for batch in self._images.augmented_batches(batch_size, generator, first, part):
            self.batches += 1
            yield batch

    def plain_batches(
        self, batch_size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        return self._images.plain_batches(batch_size, start, stop)


def rehearsal(split: Counting, held: int | None) -> tuple[Rehearsal, list[Tensor]]:
    """Steps, and the images that each of them was given."""
    params = load_params()
    method = build_method(
        params.methods["ce"], GROUP, networks(["resnet8"]), params.recipes["cifar10-brief"]
    )
    seen: list[Tensor] = []
    step = method.step

    def noted(images: Tensor, labels: Tensor, draws: dict[str, Tensor]) -> StepResult:
        seen.append(images.clone())
        return step(images, labels, draws)

    method.step = noted  # type: ignore[assignment, method-assign]
    return Rehearsal(method, split, 4, held), seen


def test_each_step_makes_its_batch_and_the_epoch_begins_anew() -> None:
    split = Counting(12)
    steps, seen = rehearsal(split, None)
    assert (split.epochs, split.batches) == (0, 0)
    for made in range(1, 4):
        steps()
        assert (split.epochs, split.batches) == (1, made)
    steps()
    assert (split.epochs, split.batches) == (2, 4)
    wanted = [b for b, _ in split.augmented_batches(4, generator(0, "batches", 0))]
    assert all(torch.equal(a, b) for a, b in zip(seen, [*wanted, wanted[0]], strict=True))


def test_held_batches_are_made_once_and_used_round_and_round() -> None:
    split = Counting(12)
    steps, seen = rehearsal(split, 2)
    assert (split.epochs, split.batches) == (1, 2)
    for _ in range(3):
        steps()
    assert (split.epochs, split.batches) == (1, 2)
    assert torch.equal(seen[2], seen[0]) and not torch.equal(seen[1], seen[0])
