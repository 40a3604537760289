"""Batches have the bits of torchvision's transforms, and an epoch's draws are its seed's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from orc_repro._torchvision import import_torchvision
from orc_repro.data.batches import Augmentation, EpochDraws, ResidentImages, draw_epoch
from orc_repro.errors import UserError

CPU = torch.device("cpu")
# channels, side, crop padding
SHAPES = [(3, 32, 4), (1, 8, 1)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_split(count: int, channels: int, side: int) -> tuple[Any, Any]:
    generator = np.random.default_rng(count)
    images = generator.integers(0, 256, (count, channels, side, side), dtype=np.uint8)
    return images, np.arange(count) % 7


def resident(
    images: Any, labels: Any, augmentation: Augmentation, device: torch.device = CPU
) -> ResidentImages:
    channels = images.shape[1]
    return ResidentImages(
        images,
        labels,
        mean=(0.4914, 0.4822, 0.4465)[:channels],
        std=(0.2470, 0.2435, 0.2616)[:channels],
        augmentation=augmentation,
        device=device,
    )


def by_torchvision(images: Any, draws: EpochDraws, padding: int, step: int) -> torch.Tensor:
    """The same batch, one sample after the other."""
    import_torchvision()
    from torchvision.transforms import functional as V1
    from torchvision.transforms.v2 import functional as V

    channels, side = images.shape[1:3]
    mean = [0.4914, 0.4822, 0.4465][:channels]
    std = [0.2470, 0.2435, 0.2616][:channels]
    batch = []
    for k in range(draws.order.shape[1]):
        image = V.pad(torch.from_numpy(images[draws.order[step, k]]), [padding])
        image = V.crop(image, int(draws.dy[step, k]), int(draws.dx[step, k]), side, side)
        if draws.flip[step, k]:
            image = V.horizontal_flip(image)
        # v2's to_dtype multiplies by 1/255, which rounds differently from ToTensor's division.
        image = V1.to_tensor(image.permute(1, 2, 0).numpy())
        batch.append(V1.normalize(image, mean, std))
    return torch.stack(batch)


# --- an epoch's draws -------------------------------------------------------------------------


def test_every_image_comes_at_most_once_and_every_batch_is_full() -> None:
    draws = draw_epoch(103, 10, Augmentation(4, True), seeded(0))
    for field in (draws.order, draws.dy, draws.dx, draws.flip):
        assert field.shape == (10, 10)
    seen = draws.order.flatten().tolist()
    assert len(set(seen)) == 100
    assert set(seen) <= set(range(103))
    assert draws.order.dtype == draws.dy.dtype == draws.dx.dtype == torch.int64
    assert draws.flip.dtype == torch.bool


def test_offsets_are_uniform_over_the_padding_and_half_of_the_images_are_flipped() -> None:
    draws = draw_epoch(90_000, 100, Augmentation(4, True), seeded(0))
    for offsets in (draws.dy, draws.dx):
        counts = torch.bincount(offsets.flatten(), minlength=9)
        assert len(counts) == 9
        assert (counts - 10_000).abs().max() < 500  # 5 standard deviations
    assert abs(draws.flip.float().mean().item() - 0.5) < 0.01


def test_the_same_seed_gives_the_same_draws() -> None:
    first, again, other = (
        draw_epoch(64, 8, Augmentation(2, True), seeded(seed)) for seed in (5, 5, 6)
    )
    for field in ("order", "dy", "dx", "flip"):
        assert torch.equal(getattr(first, field), getattr(again, field))
        assert not torch.equal(getattr(first, field), getattr(other, field))


def test_switching_one_augmentation_off_leaves_the_other_draws() -> None:
    both = draw_epoch(64, 8, Augmentation(2, True), seeded(5))
    no_flip = draw_epoch(64, 8, Augmentation(2, False), seeded(5))
    no_crop = draw_epoch(64, 8, Augmentation(0, True), seeded(5))
    assert torch.equal(both.order, no_flip.order) and torch.equal(both.order, no_crop.order)
    assert torch.equal(both.dy, no_flip.dy) and torch.equal(both.dx, no_flip.dx)
    assert torch.equal(both.flip, no_crop.flip)
    assert no_flip.flip.sum() == 0
    assert no_crop.dy.sum() == no_crop.dx.sum() == 0


def test_a_batch_larger_than_the_split_is_refused_with_both_numbers() -> None:
    assert draw_epoch(64, 64, Augmentation(0, False), seeded(0)).order.shape == (1, 64)
    with pytest.raises(UserError, match="a batch of 65 is more than the 64 training images"):
        draw_epoch(64, 65, Augmentation(0, False), seeded(0))


# --- batches ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "side", "padding"), SHAPES)
@pytest.mark.parametrize("flip", [True, False])
def test_augmented_has_the_bits_of_torchvision(
    channels: int, side: int, padding: int, flip: bool
) -> None:
    images, labels = make_split(150, channels, side)
    augmentation = Augmentation(padding, flip)
    split = resident(images, labels, augmentation)
    draws = draw_epoch(150, 50, augmentation, seeded(1))
    assert len(split) == 150
    for step in range(3):
        batch, batch_labels = split.augmented(
            draws.order[step], draws.dy[step], draws.dx[step], draws.flip[step]
        )
        assert torch.equal(batch, by_torchvision(images, draws, padding, step))
        assert batch.dtype == torch.float32
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert batch_labels.tolist() == labels[draws.order[step]].tolist()


@pytest.mark.parametrize(("channels", "side", "padding"), SHAPES)
def test_plain_is_the_centre_crop_without_flip(channels: int, side: int, padding: int) -> None:
    images, labels = make_split(30, channels, side)
    split = resident(images, labels, Augmentation(padding, True))
    batch, batch_labels = split.plain(10, 30)
    centre = torch.full((20,), padding)
    order = torch.arange(10, 30)
    same, _ = split.augmented(order, centre, centre, torch.zeros(20, dtype=torch.bool))
    assert torch.equal(batch, same)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert batch_labels.tolist() == labels[10:30].tolist()
    mean = np.array((0.4914, 0.4822, 0.4465)[:channels]).reshape(-1, 1, 1)
    std = np.array((0.2470, 0.2435, 0.2616)[:channels]).reshape(-1, 1, 1)
    assert np.abs(batch.numpy() - (images[10:30] / 255 - mean) / std).max() < 1e-6


def test_images_need_not_be_square() -> None:
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 1, 3, 4)
    split = resident(images, np.array([0, 1]), Augmentation(1, True))
    one = torch.tensor([1])
    batch, labels = split.augmented(one, one * 2, one * 0, torch.tensor([True]))
    # One row down, one column to the left; then mirrored.
    raw = (batch * split._std + split._mean) * 255
    assert raw.round().int().tolist() == [[[[18, 17, 16, 0], [22, 21, 20, 0], [0, 0, 0, 0]]]]
    assert labels.tolist() == [1]


def test_the_split_stays_uint8_and_is_not_changed_by_its_batches() -> None:
    images, labels = make_split(20, 3, 32)
    split = resident(images, labels, Augmentation(4, True))
    assert split._padded.dtype == torch.uint8
    assert split._padded.numel() == 20 * 3 * 40 * 40
    assert split._pixels.data_ptr() == split._padded.data_ptr()
    first, _ = split.plain(0, 20)
    again, _ = split.plain(0, 20)
    assert torch.equal(first, again)


def test_augmented_never_waits_for_the_device() -> None:
    """Tensors on ``meta`` have no values: whatever would read one on the host raises."""
    images, labels = make_split(40, 3, 32)
    meta = torch.device("meta")
    split = resident(images, labels, Augmentation(4, True), meta)
    draws = draw_epoch(40, 8, Augmentation(4, True), seeded(0)).to(meta)
    batch, batch_labels = split.augmented(draws.order[0], draws.dy[0], draws.dx[0], draws.flip[0])
    assert (batch.device.type, batch.shape) == ("meta", (8, 3, 32, 32))
    assert batch_labels.shape == (8,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_cpus_batches_without_a_synchronisation() -> None:
    images, labels = make_split(150, 3, 32)
    augmentation = Augmentation(4, True)
    cuda = torch.device("cuda")
    split = resident(images, labels, augmentation, cuda)
    draws = draw_epoch(150, 50, augmentation, seeded(1))
    there = draws.to(cuda)
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch, _ = split.augmented(there.order[0], there.dy[0], there.dx[0], there.flip[0])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (batch.cpu() - by_torchvision(images, draws, 4, 0)).abs().max() < 1e-6
