"""The constants of a plan for many devices: what is assumed, and the rest measured here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orc_repro.data.batches import ResidentImages
from orc_repro.data.split import Split
from orc_repro.scaling.arithmetic import Constants
from orc_repro.scaling.assumptions import Assumed
from orc_repro.scaling.measuring import Network, loader_per_core, measure_network, usable_cores
from orc_repro.scaling.simulation import jitter_of
from orc_repro.stages.forecast import Forecast


@dataclass(frozen=True)
class Stated:
    """Constants, the jitter of an iteration, and a line for each that says where it is from."""

    constants: Constants
    jitter: float
    lines: list[str]


def state(found: Forecast, train: Split, said: Assumed, devices: int) -> Stated:
    """Measure what is not assumed, for up to so many devices.

    Raises:
        UserError: the network cannot be measured here.
    """
    fixed, image, step = _step(found, said)
    per_core, loader = _loader(found, train, said)
    cores, disk = said.cores or usable_cores(), said.disk_images_per_s
    network, wire = _network(said, devices)
    jitter, spread = _jitter(found, said)
    constants = Constants(
        fixed_s=fixed,
        image_s=image,
        # Where arithmetic is assumed, that of an evaluation is as much faster.
        validation_image_s=found.validation_image_seconds * image / found.line[1],
        loader_per_core=per_core,
        cores=cores,
        disk=disk or math.inf,
        network=network.bytes_per_s,
        latency_s=network.latency_s,
    )
    host = (
        f"cores        {cores:g} for each device, {'assumed' if said.cores else 'as here'};"
        f" storage gives {f'{disk:,.0f} images/s' if disk else 'whatever is asked'}, assumed"
    )
    return Stated(constants, jitter, [step, loader, host, wire, spread])


def _step(found: Forecast, said: Assumed) -> tuple[float, float, str]:
    fixed, image = found.line
    flop = found.cost.flop_per_image
    small, large = found.small, found.large
    how = (
        f"measured on {found.device}, {len(small.seconds)} steps of {small.batch_size} and"
        f" {len(large.seconds)} of {large.batch_size} images"
    )
    if said.tflops is not None:
        fixed, image, how = 0.0, flop / (1e12 * said.tflops), "assumed"
    if said.fixed_ms is not None:
        fixed, how = said.fixed_ms / 1000, f"{how}; of each step, assumed"
    line = (
        f"step         {1000 * fixed:,.1f} ms + {1000 * image:,.2f} ms an image"
        f" ({flop / image / 1e9:,.1f} GFLOP/s), {how}"
    )
    return fixed, image, line


def _loader(found: Forecast, train: Split, said: Assumed) -> tuple[float | None, str]:
    if said.loader_images_per_core is not None:
        rate = said.loader_images_per_core
        return rate, f"loader       {rate:,.0f} images/s a core, assumed"
    if isinstance(train, ResidentImages):
        return None, "loader       none: the images lie on each device, and are cut within the step"
    whole, rate = loader_per_core(train, found.large.batch_size)
    return rate, (
        f"loader       {rate:,.0f} images/s a core, measured by processor time"
        f" ({whole:,.0f} images/s came here)"
    )


def _network(said: Assumed, devices: int) -> tuple[Network, str]:
    bandwidth, latency = said.network_gbytes_per_s, said.latency_us
    if devices == 1:
        return Network(math.inf, 0.0, ""), "network      one device needs none"
    if bandwidth is None or latency is None:
        here = measure_network()
        way = f"measured with {here.way}"
    else:
        here, way = Network(1e9 * bandwidth, latency / 1e6, ""), "assumed"
    sends, takes = here.bytes_per_s, here.latency_s
    rate_way = takes_way = way
    if bandwidth is not None:
        sends, rate_way = 1e9 * bandwidth, "assumed"
    if latency is not None:
        takes, takes_way = latency / 1e6, "assumed"
    line = (
        f"network      {sends / 1e9:,.2f} GB/s, {rate_way}; {1e6 * takes:,.0f} µs a message,"
        f" {takes_way}"
    )
    return Network(sends, takes, way), line


def _jitter(found: Forecast, said: Assumed) -> tuple[float, str]:
    if said.jitter is not None:
        return said.jitter, f"jitter       {said.jitter:.3f}, assumed"
    steps = max(found.large, found.small, key=lambda timed: len(timed.seconds))
    jitter = jitter_of(steps.seconds)
    return jitter, (
        f"jitter       {jitter:.3f}, measured: deviation of the logarithm of"
        f" {len(steps.seconds)} steps of {steps.batch_size} images"
    )
