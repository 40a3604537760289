"""Constants that are said instead of measured: ``--assume NAME=VALUE``."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import NonNegativeFloat, PositiveFloat

from orc_repro.errors import UserError, one_line
from orc_repro.validation import Strict, parse


class Assumed(Strict):
    """Each is None where it is measured (``disk_images_per_s``: where storage is no limit).

    ``tflops``: what a device sustains in training. ``fixed_ms``: of an iteration, whatever its
    batch; 0 where ``tflops`` alone is said. ``loader_images_per_core``: a second. ``cores``: for
    each device. ``disk_images_per_s``: of all devices together. ``network_gbytes_per_s``: of each
    device. ``latency_us``: of a message. ``jitter``: standard deviation of the logarithm of an
    iteration's time.
    """

    tflops: PositiveFloat | None = None
    fixed_ms: NonNegativeFloat | None = None
    loader_images_per_core: PositiveFloat | None = None
    cores: PositiveFloat | None = None
    disk_images_per_s: PositiveFloat | None = None
    network_gbytes_per_s: PositiveFloat | None = None
    latency_us: NonNegativeFloat | None = None
    jitter: NonNegativeFloat | None = None


def assumed(words: Iterable[str]) -> Assumed:
    """``["tflops=100", "cores=16"]`` as checked values.

    Raises:
        UserError: a word has another form, an unknown name or a value out of range.
    """
    said: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            said[name] = float(value)
        except ValueError:
            raise UserError(f"--assume '{one_line(word)}' is not NAME=NUMBER") from None
    return parse(Assumed, said, "--assume")


def devices_of(text: str) -> tuple[int, ...]:
    """``"1,8,64"`` as ascending numbers of devices.

    Raises:
        UserError: it is something else.
    """
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= 2**20 for part in parts):
        raise UserError(f"--devices is '{one_line(text)}'; it must be numbers, as 1,8,64,512")
    return tuple(sorted({int(part) for part in parts}))
