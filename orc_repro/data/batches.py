"""A whole split on the device as uint8; batches are cut from it by tensor operations.

There is no worker, no queue and no Python per sample: a batch is one gather whose indices hold
the crop and the flip. For the same draws it equals torchvision's RandomCrop, RandomHorizontalFlip,
ToTensor and Normalize: bit for bit on the CPU, to rounding elsewhere.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from orc_repro.data.sources import Images, Labels
from orc_repro.data.split import WHOLE, Batch
from orc_repro.errors import UserError


@dataclass(frozen=True)
class Augmentation:
    """Random crop and flip.

    Attributes:
        crop_padding: zeros added on each side before the crop, in pixels; 0 for no crop.
        flip: whether every second image, by chance, is mirrored left to right.
    """

    crop_padding: int
    flip: bool


@dataclass(frozen=True)
class EpochDraws:
    """Everything an epoch's batches leave to chance; each field is [steps, batch_size].

    Attributes:
        order: int64, which image; none comes twice.
        dy: int64, the crop's top row in the padded image, 0..2*crop_padding.
        dx: int64, its left column.
        flip: bool, mirrored after the crop.
    """

    order: Tensor
    dy: Tensor
    dx: Tensor
    flip: Tensor

    def to(self, device: torch.device) -> EpochDraws:
        """The same draws on a device."""
        return EpochDraws(
            order=self.order.to(device),
            dy=self.dy.to(device),
            dx=self.dx.to(device),
            flip=self.flip.to(device),
        )


def draw_epoch(
    count: int, batch_size: int, augmentation: Augmentation, generator: torch.Generator
) -> EpochDraws:
    """Draw an epoch over ``count`` images; the last, incomplete batch is dropped.

    The draws are made on the CPU, so that they are the same on every device. All four are made
    whatever the augmentation, so that switching one off leaves the others as they were.

    Raises:
        UserError: there are fewer images than a batch holds.
    """
    if batch_size > count:
        raise UserError(f"a batch of {batch_size} is more than the {count} training images")
    steps = count // batch_size
    shape = (steps, batch_size)
    offsets = 2 * augmentation.crop_padding + 1
    order = torch.randperm(count, generator=generator)
    dy = torch.randint(offsets, shape, generator=generator)
    dx = torch.randint(offsets, shape, generator=generator)
    flip = torch.rand(shape, generator=generator) < 0.5
    return EpochDraws(
        order=order[: steps * batch_size].view(shape),
        dy=dy,
        dx=dx,
        flip=flip & augmentation.flip,
    )


class ResidentImages:
    """A :class:`Split` that lies on the device, padded once, as uint8.

    Attributes:
        labels: int64 [N] on the device.
        augmentation: what :meth:`augmented` does.
    """

    def __init__(
        self,
        images: Images,
        labels: Labels,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Augmentation,
        device: torch.device,
    ) -> None:
        """Copy a split to the device.

        Args:
            images: uint8 [N, C, H, W].
            labels: int64 [N].
            mean: of each channel, on the 0..1 scale.
            std: of each channel, on the 0..1 scale.
            augmentation: what :meth:`augmented` does; its padding is laid around the copy.
            device: where the copy lives and the batches are made.
        """
        channels, self._height, self._width = images.shape[1:]
        self._padding = augmentation.crop_padding
        padded = F.pad(torch.from_numpy(images), 4 * (self._padding,))
        # Channels last, as the networks want them: a pixel is one row of a gather.
        self._padded = padded.permute(0, 2, 3, 1).contiguous().to(device)
        self._pixels = self._padded.view(-1, channels)
        rows = torch.arange(self._height)[:, None] * self._padded.shape[2]
        columns = torch.arange(self._width)
        # Where a crop's pixels lie from its corner on: row 0 as it is, row 1 mirrored.
        self._crop = torch.stack([rows + columns, rows + columns.flip(0)]).flatten(1).to(device)
        self._mean = torch.tensor(mean, dtype=torch.float32, device=device).view(-1, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32, device=device).view(-1, 1, 1)
        self.labels = torch.from_numpy(labels).to(device)
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Where the images are, and the batches that are made of them."""
        return self.labels.device

    def augmented_batches(
        self, batch_size: int, generator: torch.Generator, first: int = 0, part: slice = WHOLE
    ) -> Generator[Batch, None, None]:
        """An epoch; see :class:`orc_repro.data.split.Split`."""
        draws = draw_epoch(len(self), batch_size, self.augmentation, generator).to(self.device)
        for i in range(first, len(draws.order)):
            yield self.augmented(
                draws.order[i, part], draws.dy[i, part], draws.dx[i, part], draws.flip[i, part]
            )

    def plain_batches(
        self, batch_size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        """Images as they are evaluated; see :class:`orc_repro.data.split.Split`."""
        stop = len(self) if stop is None else stop
        for begin in range(start, stop, batch_size):
            yield self.plain(begin, min(begin + batch_size, stop))

    def augmented(
        self, order: Tensor, dy: Tensor, dx: Tensor, flip: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cropped, flipped and normalised images; never waits for the device.

        Args:
            order: int64 [B], which images.
            dy: int64 [B], top row of each crop in the padded image.
            dx: int64 [B], left column of each crop.
            flip: bool [B], which crops are mirrored.

        Returns:
            float32 [B, C, H, W] in channels_last, and int64 [B].
        """
        _, height, width, channels = self._padded.shape
        corner = (order * height + dy) * width + dx
        index = corner[:, None] + self._crop.index_select(0, flip.long())
        pixels = self._pixels.index_select(0, index.flatten())
        images = pixels.view(-1, self._height, self._width, channels)
        return self._normalised(images), self.labels.index_select(0, order)

    def plain(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Images ``start`` to ``stop`` (exclusive), normalised but otherwise as they are.

        Returns:
            float32 [stop-start, C, H, W] in channels_last, and int64 [stop-start].
        """
        top = left = self._padding
        bottom, right = top + self._height, left + self._width
        images = self._padded[start:stop, top:bottom, left:right]
        return self._normalised(images), self.labels[start:stop]

    def _normalised(self, images: Tensor) -> Tensor:
        """uint8 [B, H, W, C] -> float32 [B, C, H, W], by torchvision's arithmetic."""
        floats = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
        normalised = floats.div_(255).sub_(self._mean).div_(self._std)
        return normalised.to(torch.get_default_dtype())
