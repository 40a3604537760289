"""The formulas: from constants and a workload to images a second, hours and memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orc_repro.cost import StepCost

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Constants:
    """What a device, its host and the network between devices do.

    Attributes:
        fixed_s: seconds of an iteration whatever its batch.
        image_s: seconds of an iteration for each image of a device's share.
        validation_image_s: seconds to evaluate one image by every network.
        loader_per_core: images a second that one core reads and augments; None where the images
            lie on the device and are cut within the iteration.
        cores: of a device's host, for that device.
        disk: images a second that the storage gives all devices together; infinite if unlimited.
        network: bytes a second that a device sends and receives.
        latency_s: of one message.
    """

    fixed_s: float
    image_s: float
    validation_image_s: float
    loader_per_core: float | None
    cores: float
    disk: float
    network: float
    latency_s: float


@dataclass(frozen=True)
class Workload:
    """What is to be trained.

    Attributes:
        batch_size: of all devices together.
        train_images: of an epoch.
        validation_images: evaluated after each epoch.
        epochs: of the recipe.
        collectives: bytes of each all-reduce of an iteration, in their order.
        cost: arithmetic and memory of an iteration.
        data_bytes: what the images hold on each device.
    """

    batch_size: int
    train_images: int
    validation_images: int
    epochs: int
    collectives: tuple[int, ...]
    cost: StepCost
    data_bytes: int


@dataclass(frozen=True)
class Prediction:
    """A workload on some devices; rates are images a second of all of them.

    Attributes:
        arithmetic: if nothing but computing took time.
        loader: if nothing but reading and augmenting did.
        network: if nothing but the all-reduces did.
        waiting: by how much an iteration's computing is longer because all wait for the slowest.
        rate: what comes out.
        bound: which of the three limits it most.
        hours: of all epochs, with validation.
        memory_bytes: of a device.
    """

    devices: int
    batch_size: int
    arithmetic: float
    loader: float
    network: float
    waiting: float
    rate: float
    bound: str
    hours: float
    memory_bytes: float


def ring_s(size: int, devices: int, network: float, latency_s: float) -> float:
    """An all-reduce in a ring: 2(N-1) rounds, each of an N-th of the bytes and one latency."""
    rounds = 2 * (devices - 1)
    return rounds * (size / devices / network + latency_s)


def tree_s(size: int, devices: int, network: float, latency_s: float) -> float:
    """A sum up a binary tree and its way down: 2 log2 N rounds of all bytes and one latency."""
    rounds = 2 * math.ceil(math.log2(devices))
    return rounds * (size / network + latency_s)


def all_reduce_s(size: int, devices: int, network: float, latency_s: float) -> float:
    """The faster of both; libraries choose by the size as well. Nothing on one device."""
    way = (size, devices, network, latency_s)
    return min(ring_s(*way), tree_s(*way))


def sent_bytes(size: int, devices: int) -> float:
    """What each device sends in a ring."""
    return 2 * (devices - 1) / devices * size


def line_through(small: tuple[int, float], large: tuple[int, float]) -> tuple[float, float]:
    """(seconds whatever the batch, seconds an image) of two timed batches.

    The line goes through the larger one, and begins at no less than 0.
    """
    slope = (large[1] - small[1]) / (large[0] - small[0]) if large[0] > small[0] else 0.0
    fixed = large[1] - slope * large[0]
    if slope <= 0 or fixed <= 0:
        return 0.0, large[1] / large[0]
    return fixed, slope


def problem_of(batch_size: int, devices: int, images: int) -> str:
    """Why a batch of so many images cannot be had on so many devices; empty if it can."""
    wayout = "--batch-per-device plans one that grows with them"
    if batch_size < devices:
        return (
            f"a batch of {batch_size:,} is less than one image for each of {devices:,} devices;"
            f" {wayout}"
        )
    if batch_size % devices:
        return f"a batch of {batch_size:,} is not divisible by {devices:,} devices; {wayout}"
    if batch_size > images:
        return f"a batch of {batch_size:,} for {devices:,} devices is more than all images"
    return ""


def predict(work: Workload, constants: Constants, devices: int, waiting: float) -> Prediction:
    """A workload whose batch can be divided by the devices.

    All-reduces wait for the gradients and the next phase for them: nothing overlaps but loading.
    """
    share = work.batch_size // devices
    computing = constants.fixed_s + constants.image_s * share
    talking = sum(
        all_reduce_s(size, devices, constants.network, constants.latency_s)
        for size in work.collectives
    )
    loader = loader_rate(constants, devices)
    loading = work.batch_size / loader
    iteration = max(computing * waiting + talking, loading)
    validation = work.validation_images * max(constants.validation_image_s / devices, 1 / loader)
    epoch = work.train_images // work.batch_size * iteration + validation
    flat = max(work.collectives, default=0) if devices > 1 else 0
    return Prediction(
        devices=devices,
        batch_size=work.batch_size,
        arithmetic=work.batch_size / computing,
        loader=loader,
        network=work.batch_size / talking if talking else math.inf,
        waiting=waiting,
        rate=work.batch_size / iteration,
        bound=_bound(computing * waiting, talking, loading),
        hours=work.epochs * epoch / SECONDS_PER_HOUR,
        memory_bytes=work.cost.peak_bytes(share) + work.data_bytes + flat,
    )


def loader_rate(constants: Constants, devices: int) -> float:
    """Images a second that all hosts read and augment; infinite where nothing has to be loaded."""
    if constants.loader_per_core is None:
        return math.inf
    return min(devices * constants.cores * constants.loader_per_core, constants.disk)


def _bound(computing: float, talking: float, loading: float) -> str:
    if loading >= computing + talking:
        return "loader"
    return "arithmetic" if computing >= talking else "network"
