"""What a split of a dataset offers to training and evaluation, wherever its images lie."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Protocol

import torch
from torch import Tensor

WHOLE = slice(None)

Batch = tuple[Tensor, Tensor]
"""float32 images [B, C, H, W] in channels_last, normalised, and int64 labels [B], on the device."""


class Split(Protocol):
    """Images and labels of one split; batches arrive on :attr:`device`."""

    @property
    def device(self) -> torch.device:
        """Where the batches are."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def augmented_batches(
        self, batch_size: int, generator: torch.Generator, first: int = 0, part: slice = WHOLE
    ) -> Generator[Batch, None, None]:
        """An epoch in the order and with the augmentation that a generator draws.

        The last, incomplete batch is dropped. Batch i is a function of the generator's state
        alone: not of ``first``, of the device, nor of how many processes read the images.

        Args:
            generator: on the CPU, at the start of the epoch's stream.
            first: how many batches to leave out, without reading their images.
            part: of each batch, the images to make; the other processes' are not read.

        Raises:
            UserError: there are fewer images than a batch holds.
        """
        ...

    def plain_batches(
        self, batch_size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        """Images ``start`` to ``stop`` (exclusive), each once, in order, as they are evaluated."""
        ...
