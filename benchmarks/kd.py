"""B4: plain distillation, ResNet20 to ResNet8, beside a peer's loop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.group import DEVICE, Steps, networks
from benchmarks.peer_loop import PeerKd, PilImages, endless, plain_sgd
from benchmarks.rows import Row
from benchmarks.timing import fastest, rounds_of
from orc_repro.config import KdConfig
from orc_repro.errors import UserError

BATCH, STEPS = 128, 3


def measure(rounds: int, peer_path: Path | None) -> list[Row]:
    """Milliseconds an iteration; the first variant is what ours is compared with."""
    ours = Steps("r20-r8", "kd", batch_size=BATCH)
    config = ours.config
    assert isinstance(config, KdConfig)
    teacher, student = networks(("resnet20", "resnet8"), fast=False).values()
    written_here = PeerKd(teacher, student, config.temperature, config.beta)
    draw = np.random.default_rng(0)
    images = PilImages(
        draw.integers(0, 256, (2048, 3, 32, 32), dtype=np.uint8), draw.integers(0, 10, 2048)
    )
    batches = endless(images, BATCH, workers=0)

    def peer_steps() -> None:
        for _ in range(STEPS):
            own, labels = next(batches)
            written_here.step(own.to(DEVICE), labels.to(DEVICE))

    variants: dict[str, Callable[[], object]] = {"peer's style": peer_steps}
    if peer_path is not None:
        variants["RepDistiller's train_distill"] = _repdistiller(peer_path, config, batches)
    variants["ours"] = lambda: ours(STEPS)
    found = fastest(rounds_of(variants, rounds))
    return [
        Row(
            "B4 plain KD, ResNet20 to 8", name, 1000 * f.seconds / STEPS, "ms/iteration",
            ratio=f.times_faster if name != "peer's style" else None,
            must=(">=", 1.4) if name == "ours" else None,
            aim=(">=", 1.65) if name == "ours" else None,
            noisy=f.noisy,
        )
        for name, f in found.items()
    ]  # fmt: skip


class _WithFeatures(nn.Module):
    """A network that answers as RepDistiller asks: with features, of which KD needs none."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, is_feat: bool, preact: bool) -> tuple[list[Tensor], Tensor]:
        return [], self.network(images)


def _repdistiller(
    folder: Path, config: KdConfig, batches: Iterator[tuple[Tensor, Tensor]]
) -> Callable[[], object]:
    """The peer's own loop over a few batches of the same images."""
    if not (folder / "helper" / "loops.py").exists():
        raise UserError(f"{folder} is not a checkout of RepDistiller: it has no helper/loops.py")
    sys.path.insert(0, str(folder))
    from distiller_zoo import DistillKL  # type: ignore[import-not-found]
    from helper.loops import train_distill  # type: ignore[import-not-found]

    teacher, student = map(_WithFeatures, networks(("resnet20", "resnet8"), fast=False).values())
    wanted = SimpleNamespace(
        distill="kd", gamma=1 - config.beta, alpha=config.beta, beta=0, print_freq=10**9
    )
    criteria: list[Any] = [nn.CrossEntropyLoss(), DistillKL(config.temperature), None]
    optimizer = plain_sgd(student)

    def steps() -> None:
        few = [(*next(batches), torch.zeros(BATCH)) for _ in range(STEPS)]
        train_distill(1, few, [student, teacher], criteria, optimizer, wanted)

    return steps
