"""``train --plan``: what a cell will take, before hours are spent on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from orc_repro.cells import Study
from orc_repro.config import Recipe
from orc_repro.cost import StepCost, step_cost
from orc_repro.data.batches import ResidentImages
from orc_repro.data.manifest import Manifest
from orc_repro.data.split import Split
from orc_repro.distill import METHODS, Method, build_method
from orc_repro.rehearsal import Rehearsal, held_bytes, noise_images, seconds_of
from orc_repro.stages.run import manifest_of, open_split
from orc_repro.training.device import device_name, pick_device, set_up
from orc_repro.training.evaluate import BATCH_SIZE
from orc_repro.training.networks import build_networks, count_parameters

_WARM_UP_STEPS = 2
_PROBE_SECONDS = 5.0


@dataclass(frozen=True)
class Forecast:
    """What a cell takes.

    Attributes:
        parameters: of each network.
        cost: of an iteration.
        data_bytes: what the training and validation images hold on the device.
        peak_bytes: networks, optimizers, one step at the recipe's batch size, and the data.
        steps_per_epoch: iterations.
        step_seconds: of the fastest step that was tried.
        validation_seconds: of all networks, once an epoch.
        epochs: of the recipe.
    """

    parameters: dict[str, int]
    cost: StepCost
    data_bytes: int
    peak_bytes: float
    batch_size: int
    steps_per_epoch: int
    step_seconds: float
    validation_seconds: float
    epochs: int
    device: str

    @property
    def epoch_seconds(self) -> float:
        """Training and validation of an epoch."""
        return self.steps_per_epoch * self.step_seconds + self.validation_seconds

    def lines(self) -> list[str]:
        """What to print."""
        networks = ", ".join(f"{n} {count:,}" for n, count in self.parameters.items())
        flop = self.cost.flop_per_image
        return [
            f"parameters   {sum(self.parameters.values()):,}: {networks}",
            f"arithmetic   {flop / 1e6:,.1f} MFLOP an image, {flop * self.batch_size / 1e9:,.2f}"
            f" GFLOP an iteration of {self.batch_size} images",
            f"memory       {self.peak_bytes / 1e6:,.0f} MB at its peak on {self.device}, of which"
            f" data {self.data_bytes / 1e6:,.0f} MB; the library's own scratch comes on top",
            f"time         {1000 * self.step_seconds:,.1f} ms an iteration,"
            f" {self.epoch_seconds:,.1f} s an epoch of {self.steps_per_epoch:,} with validation,"
            f" {self.epochs * self.epoch_seconds / 60:,.1f} minutes for {self.epochs} epochs",
        ]


def forecast(study: Study, key: str, device: str = "auto") -> Forecast:
    """Count a cell's iteration and time a few, with random weights; nothing is written.

    Raises:
        UserError: there is no such cell, device or prepared dataset.
    """
    cell = study.cell(key)
    group, recipe, config = study.parts(cell)
    place = pick_device(device)
    set_up(recipe)
    manifest = manifest_of(cell.dataset)
    names = METHODS[config.kind].networks_of(group, config)

    def built(where: torch.device, computed: Recipe) -> Method:
        networks = build_networks(names, manifest, cell.seed, where)
        method = build_method(config, group, networks, computed)
        method.train()
        return method

    def small_step(batch_size: int) -> Callable[[], object]:
        cpu = torch.device("cpu")
        noise = noise_images(2 * batch_size, manifest.image_shape, manifest.num_classes, cpu)
        steps = Rehearsal(built(cpu, recipe.as_written), noise, batch_size)
        steps()
        return steps

    method = built(place, recipe)
    train, validation = (
        open_split(study.params, cell.dataset, split, manifest, recipe, place)
        for split in ("train", "validation")
    )
    # Images that are read as it goes are not timed: what reading costs depends on the processors.
    rehearsed = (
        train
        if isinstance(train, ResidentImages)
        else noise_images(2 * recipe.batch_size, manifest.image_shape, manifest.num_classes, place)
    )
    seconds = _fastest(Rehearsal(method, rehearsed, recipe.batch_size))
    cost = step_cost(small_step, held_bytes(method))
    resident = isinstance(train, ResidentImages)
    data_bytes = _data_bytes(manifest, recipe.augmentation.crop_padding) if resident else 0
    return Forecast(
        parameters={name: count_parameters(net) for name, net in method.networks.items()},
        cost=cost,
        data_bytes=data_bytes,
        peak_bytes=cost.peak_bytes(recipe.batch_size) + data_bytes,
        batch_size=recipe.batch_size,
        steps_per_epoch=len(train) // recipe.batch_size,
        step_seconds=seconds,
        validation_seconds=_validation_seconds(method, validation),
        epochs=recipe.epochs,
        device=device_name(place),
    )


def _fastest(step: Rehearsal) -> float:
    """Seconds of the fastest of some steps; at least two, and more for as long as is bearable."""
    for _ in range(_WARM_UP_STEPS):
        step()
    found = [seconds_of(step) for _ in range(2)]
    while sum(found) < _PROBE_SECONDS and len(found) < 50:
        found.append(seconds_of(step))
    return min(found)


def _validation_seconds(method: Method, images: Split) -> float:
    """Of evaluating every network on a whole split, from one batch."""
    batch, _ = next(images.plain_batches(BATCH_SIZE, 0, min(BATCH_SIZE, len(images))))

    @torch.no_grad()
    def look() -> None:
        for network in method.networks.values():
            network.eval()(batch)

    look()
    return seconds_of(look) * len(images) / len(batch)


def _data_bytes(manifest: Manifest, padding: int) -> int:
    """uint8 images with their padding, and labels, of what training sees."""
    channels, height, width = manifest.image_shape
    image = channels * (height + 2 * padding) * (width + 2 * padding)
    return (manifest.count("train") + manifest.count("validation")) * (image + 8)
