"""The one evaluation function: validation, test and pivot checks all come here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orc_repro.data.split import Split
from orc_repro.distill.losses import upcast
from orc_repro.processes.group import ALONE, Processes

BATCH_SIZE = 512  # changes no number: running statistics are used, and sums are over samples


@dataclass(frozen=True)
class Evaluation:
    """A network on a split; accuracies in percent.

    Attributes:
        count: number of samples, each seen once.
        top1: accuracy.
        top5: accuracy within the five highest logits; None with five classes or fewer.
        loss: mean cross-entropy.
        class_top1: accuracy of each class, by label.
    """

    count: int
    top1: float
    top5: float | None
    loss: float
    class_top1: tuple[float, ...]


@torch.no_grad()
def evaluate(
    network: nn.Module, split: Split, num_classes: int, processes: Processes = ALONE
) -> Evaluation:
    """Evaluate a network on every sample of a split, once, in evaluation mode.

    The network's mode is as before afterwards. One device read at the end. Of several processes
    each looks at its own part of the split, and all return the same.
    """
    was_training = network.training
    network.eval()
    device = split.device
    hits = torch.zeros(num_classes, device=device)
    seen = torch.zeros(num_classes, device=device)
    totals = torch.zeros(2, device=device)  # top-5 hits, summed loss
    deep = num_classes > 5
    start, stop = processes.rows_of(len(split))
    for images, labels in split.plain_batches(BATCH_SIZE, start, stop):
        logits = upcast(network(images))
        hit = (logits.argmax(dim=1) == labels).to(hits.dtype)
        hits.index_add_(0, labels, hit)
        seen.index_add_(0, labels, torch.ones_like(hit))
        if deep:
            totals[0] += (logits.topk(5, dim=1).indices == labels.unsqueeze(1)).sum()
        totals[1] += F.cross_entropy(logits, labels, reduction="sum")
    network.train(was_training)
    processes.add_up(hits, seen, totals)
    return _summary(hits, seen, totals, len(split), deep)


def _summary(hits: Tensor, seen: Tensor, totals: Tensor, count: int, deep: bool) -> Evaluation:
    class_hits, class_seen, (top5_hits, loss) = hits.tolist(), seen.tolist(), totals.tolist()
    if sum(class_seen) != count:
        raise AssertionError(f"evaluated {sum(class_seen)} samples of {count}")
    return Evaluation(
        count=count,
        top1=100 * sum(class_hits) / count,
        top5=100 * top5_hits / count if deep else None,
        loss=loss / count,
        class_top1=tuple(
            100 * hit / total if total else 0.0
            for hit, total in zip(class_hits, class_seen, strict=True)
        ),
    )
