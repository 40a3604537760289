"""The one evaluation function."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from orc_repro.data.batches import Augmentation, ResidentImages
from orc_repro.training import evaluate as module
from orc_repro.training.evaluate import evaluate


class Oracle(nn.Module):
    """Answers from a table of logits, by the image's first pixel."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table
        self.norm = nn.BatchNorm2d(1)

    def forward(self, images: Tensor) -> Tensor:
        self.norm(images)
        return self.table[images[:, 0, 0, 0].round().long()]


def split_of(labels: list[int]) -> ResidentImages:
    """Images whose first pixel is their own number."""
    images = np.zeros((len(labels), 1, 2, 2), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    return ResidentImages(
        images,
        np.array(labels, dtype=np.int64),
        mean=[0.0],
        std=[1 / 255],
        augmentation=Augmentation(0, False),
        device=torch.device("cpu"),
    )


def test_accuracy_loss_and_classes_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_SIZE", 2)  # three images: the last batch is incomplete
    half = torch.tensor([0.5, 0.25, 0.25]).log()
    result = evaluate(Oracle(torch.stack([half, half, half])), split_of([0, 0, 2]), 3)
    assert result.count == 3
    assert result.top1 == pytest.approx(200 / 3)
    assert result.top5 is None
    assert result.loss == pytest.approx((2 * np.log(2) + np.log(4)) / 3, abs=1e-6)
    assert result.class_top1 == (100.0, 0.0, 0.0)


def test_top5_counts_labels_among_the_five_highest() -> None:
    table = torch.arange(7.0).repeat(2, 1)  # the five highest are classes 2 to 6
    result = evaluate(Oracle(table), split_of([1, 2]), 7)
    assert (result.top1, result.top5) == (0.0, 50.0)


def test_the_batch_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    labels = [i % 10 for i in range(50)]
    whole = evaluate(Oracle(table), split_of(labels), 10)
    monkeypatch.setattr(module, "BATCH_SIZE", 7)
    parts = evaluate(Oracle(table), split_of(labels), 10)
    assert (parts.top1, parts.top5, parts.class_top1) == (whole.top1, whole.top5, whole.class_top1)
    assert parts.loss == pytest.approx(whole.loss, abs=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training: bool) -> None:
    network = Oracle(torch.zeros(2, 3)).train(training)
    evaluate(network, split_of([0, 1]), 3)
    assert network.training is training
    assert int(network.norm.num_batches_tracked or 0) == 0
