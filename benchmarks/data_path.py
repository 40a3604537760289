"""B1: normalised, cropped and flipped batches a second, beside PIL in a DataLoader."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.group import DEVICE
from benchmarks.peer_loop import MEAN, STD, PilImages, endless
from benchmarks.rows import Row
from benchmarks.timing import fastest, rounds_of
from orc_repro.data.batches import Augmentation, ResidentImages, draw_epoch
from orc_repro.training.streams import generator

IMAGES, BATCH, PEER_BATCHES = 10_240, 128, 8


def measure(rounds: int) -> list[Row]:
    """Images a second of ours and of a DataLoader's with no worker and with two."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8)
    labels = draw.integers(0, 10, IMAGES)
    augmentation = Augmentation(4, True)
    ours = ResidentImages(
        images, labels, mean=MEAN, std=STD, augmentation=augmentation, device=DEVICE
    )
    draws = draw_epoch(IMAGES, BATCH, augmentation, generator(0, "batches", 0)).to(DEVICE)

    def epoch() -> None:
        for i in range(len(draws.order)):
            ours.augmented(draws.order[i], draws.dy[i], draws.dx[i], draws.flip[i])

    peer = PilImages(images, labels)
    loaders = {workers: endless(peer, BATCH, workers) for workers in (0, 2)}

    def load(workers: int) -> None:
        for _ in range(PEER_BATCHES):
            next(loaders[workers])

    names = {workers: f"PIL, DataLoader, {workers} workers" for workers in loaders}
    found = fastest(
        rounds_of(
            {names[w]: partial(load, w) for w in loaders} | {"resident, one gather": epoch}, rounds
        )
    )
    count = {name: BATCH * PEER_BATCHES for name in names.values()} | {
        "resident, one gather": BATCH * len(draws.order)
    }
    speed = {name: count[name] / found[name].seconds for name in found}
    base = speed[names[0]]
    return [
        Row(
            "B1 data path", name, speed[name], "images/s", ratio=speed[name] / base if i else None,
            must=(">=", 20) if i == 2 else None, aim=(">=", 45) if i == 2 else None,
            noisy=found[name].noisy,
        )
        for i, name in enumerate(found)
    ]  # fmt: skip
