"""``train --plan``: what a cell will take, before hours are spent on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from orc_repro.cells import Study
from orc_repro.config import Recipe
from orc_repro.cost import StepCost, step_cost
from orc_repro.data.batches import ResidentImages
from orc_repro.data.manifest import Manifest
from orc_repro.data.split import Split
from orc_repro.distill import METHODS, Method, build_method
from orc_repro.processes.joining import make_current
from orc_repro.rehearsal import Rehearsal, held_bytes, noise_images, seconds_of
from orc_repro.scaling.arithmetic import line_through
from orc_repro.scaling.collectives import ballot_bytes, updates_of
from orc_repro.stages.place import take_place
from orc_repro.stages.run import manifest_of, open_split
from orc_repro.training.device import device_name
from orc_repro.training.evaluate import BATCH_SIZE
from orc_repro.training.networks import build_networks, count_parameters

_WARM_UP_STEPS = 2
_PROBE_SECONDS = 5.0
_SMALLEST_BATCH = 2
_HELD = 2  # batches of a streamed split, whose loading is no part of a step


@dataclass(frozen=True)
class Timed:
    """Steps of one batch size; ``seconds`` of each."""

    batch_size: int
    seconds: tuple[float, ...]

    @property
    def fastest(self) -> float:
        """What the others took longer than, for whatever reason."""
        return min(self.seconds)


@dataclass(frozen=True)
class Forecast:
    """What a cell takes.

    Attributes:
        parameters: of each network.
        cost: of an iteration.
        updates: bytes of the gradients of each optimizer update of an iteration.
        ballot: bytes of an election.
        data_bytes: what the training and validation images hold on the device; 0 if streamed.
        small: steps of the smallest batch that was timed.
        large: steps of the recipe's batch, or of the largest that is bearable.
        validation_image_seconds: of one image by all networks.
        epochs: of the recipe.
    """

    parameters: dict[str, int]
    cost: StepCost
    updates: tuple[int, ...]
    ballot: int
    data_bytes: int
    batch_size: int
    train_images: int
    validation_images: int
    small: Timed
    large: Timed
    validation_image_seconds: float
    epochs: int
    device: str

    @property
    def peak_bytes(self) -> float:
        """Networks, optimizers, one step at the recipe's batch size, and the data."""
        return self.cost.peak_bytes(self.batch_size) + self.data_bytes

    @property
    def line(self) -> tuple[float, float]:
        """(seconds of a step whatever its batch, seconds an image)."""
        small, large = self.small, self.large
        return line_through((small.batch_size, small.fastest), (large.batch_size, large.fastest))

    @property
    def step_seconds(self) -> float:
        """Of the fastest step at the recipe's batch size, if need be from smaller batches."""
        fixed, image = self.line
        return fixed + image * self.batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Iterations."""
        return self.train_images // self.batch_size

    @property
    def epoch_seconds(self) -> float:
        """Training and validation of an epoch."""
        validation = self.validation_images * self.validation_image_seconds
        return self.steps_per_epoch * self.step_seconds + validation

    def lines(self) -> list[str]:
        """What to print."""
        networks = ", ".join(f"{n} {count:,}" for n, count in self.parameters.items())
        flop = self.cost.flop_per_image
        data = f"data {self.data_bytes / 1e6:,.0f} MB" if self.data_bytes else "no data"
        timed = self.large.batch_size
        reckoned = "" if timed == self.batch_size else f" (reckoned from batches of {timed})"
        return [
            f"parameters   {sum(self.parameters.values()):,}: {networks}",
            f"arithmetic   {flop / 1e6:,.1f} MFLOP an image, {flop * self.batch_size / 1e9:,.2f}"
            f" GFLOP an iteration of {self.batch_size} images",
            f"memory       {self.peak_bytes / 1e6:,.0f} MB at its peak on {self.device}, of which"
            f" {data}; the library's own scratch comes on top",
            f"time         {1000 * self.step_seconds:,.1f} ms an iteration{reckoned},"
            f" {self.epoch_seconds:,.1f} s an epoch of {self.steps_per_epoch:,} with validation,"
            f" {self.epochs * self.epoch_seconds / 60:,.1f} minutes for {self.epochs} epochs",
        ]


def forecast(study: Study, key: str, device: str = "auto") -> Forecast:
    """Count a cell's iteration and time a few, with random weights; nothing is written.

    Raises:
        UserError: there is no such cell, device or prepared dataset.
    """
    return forecast_of(study, key, *opened(study, key, device))


def opened(study: Study, key: str, device: str) -> tuple[Manifest, Split, Split]:
    """What a cell trains on and is validated with, on a device that is then set up.

    Raises:
        UserError: see :func:`forecast`.
    """
    cell = study.cell(key)
    _, recipe, _ = study.parts(cell)
    place = take_place(device, recipe)
    make_current(place)
    manifest = manifest_of(cell.dataset)
    train, validation = (
        open_split(study.params, cell.dataset, split, manifest, recipe, place)
        for split in ("train", "validation")
    )
    return manifest, train, validation


def forecast_of(
    study: Study, key: str, manifest: Manifest, train: Split, validation: Split
) -> Forecast:
    """:func:`forecast` from splits that are at hand, on their device."""
    cell = study.cell(key)
    group, recipe, config = study.parts(cell)
    names = METHODS[config.kind].networks_of(group, config)
    cpu = torch.device("cpu")

    def built(where: torch.device, computed: Recipe) -> Method:
        networks = build_networks(names, manifest, cell.seed, where)
        method = build_method(config, group, networks, computed)
        method.train()
        return method

    def small_step(batch_size: int) -> Rehearsal:
        noise = noise_images(2 * batch_size, manifest.image_shape, manifest.num_classes, cpu)
        steps = Rehearsal(built(cpu, recipe.as_written), noise, batch_size)
        steps()
        return steps

    def timed(batch_size: int, at_least: int) -> Timed:
        held = None if isinstance(train, ResidentImages) else _HELD
        # A method of its own: what is replayed or compiled has one size of batch.
        step = Rehearsal(built(train.device, recipe), train, batch_size, held)
        return Timed(batch_size, _seconds(step, at_least))

    smallest = min(_SMALLEST_BATCH * recipe.pieces, recipe.batch_size)
    observed = small_step(smallest)
    method = built(train.device, recipe)
    cost = step_cost(small_step, held_bytes(method), recipe.pieces)
    small = timed(smallest, at_least=5)
    bearable = _bearable(small, recipe, cost, train.device)
    kept = isinstance(train, ResidentImages)
    return Forecast(
        parameters={name: count_parameters(net) for name, net in method.networks.items()},
        cost=cost,
        updates=updates_of(observed.method, observed),
        ballot=ballot_bytes(observed.method),
        data_bytes=_data_bytes(manifest, recipe.augmentation.crop_padding) if kept else 0,
        batch_size=recipe.batch_size,
        train_images=len(train),
        validation_images=len(validation),
        small=small,
        large=timed(bearable, at_least=2),
        validation_image_seconds=_validation_image_seconds(method, validation, 2 * bearable),
        epochs=recipe.epochs,
        device=device_name(train.device),
    )


def _seconds(step: Callable[[], object], at_least: int) -> tuple[float, ...]:
    """Of some steps, and of more for as long as is bearable."""
    for _ in range(_WARM_UP_STEPS):
        step()
    found = [seconds_of(step) for _ in range(at_least)]
    while sum(found) < _PROBE_SECONDS and len(found) < 50:
        found.append(seconds_of(step))
    return tuple(found)


def _bearable(small: Timed, recipe: Recipe, cost: StepCost, device: torch.device) -> int:
    """The batch size to time: the recipe's, unless a step takes too long or too much memory."""
    wanted = recipe.batch_size
    if device.type == "cuda":
        free = float(torch.cuda.mem_get_info(device)[0])
    else:
        free = float(psutil.virtual_memory().available)
    by_time = _PROBE_SECONDS * small.batch_size / small.fastest
    by_memory = (free / 2 - cost.peak_bytes(0)) / max(cost.bytes_per_image, 1.0)
    most = int(min(by_time, by_memory)) // recipe.pieces * recipe.pieces
    return max(min(wanted, most), min(2 * small.batch_size, wanted))


def _validation_image_seconds(method: Method, images: Split, at_most: int) -> float:
    """Of evaluating one image by every network, from one batch."""
    count = min(BATCH_SIZE, at_most, len(images))
    batch, _ = next(iter(images.plain_batches(count)))

    @torch.no_grad()
    def look() -> None:
        for network in method.networks.values():
            network.eval()(batch)

    look()
    return seconds_of(look) / len(batch)


def _data_bytes(manifest: Manifest, padding: int) -> int:
    """uint8 images with their padding, and labels, of what training sees."""
    channels, height, width = manifest.image_shape
    image = channels * (height + 2 * padding) * (width + 2 * padding)
    return (manifest.count("train") + manifest.count("validation")) * (image + 8)
