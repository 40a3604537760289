"""Constants that are said instead of measured: ``--assume NAME=VALUE``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from orc_repro.errors import UserError, one_line
from orc_repro.validation import Strict, parse

Amount = Annotated[float, Field(ge=1e-6, le=1e12)]
AmountOrNone = Annotated[float, Field(ge=0, le=1e12)]


class Assumed(Strict):
    """Each is None where it is measured (``disk_images_per_s``: where storage is no limit).

    ``tflops``: what a device sustains in training. ``fixed_ms``: of an iteration, whatever its
    batch; 0 where ``tflops`` alone is said. ``loader_images_per_core``: a second. ``cores``: for
    each device. ``disk_images_per_s``: of all devices together. ``network_gbytes_per_s``: of each
    device. ``latency_us``: of a message. ``jitter``: standard deviation of the logarithm of an
    iteration's time.
    """

    tflops: Amount | None = None
    fixed_ms: AmountOrNone | None = None
    loader_images_per_core: Amount | None = None
    cores: Amount | None = None
    disk_images_per_s: Amount | None = None
    network_gbytes_per_s: Amount | None = None
    latency_us: AmountOrNone | None = None
    jitter: Annotated[float, Field(ge=0, le=10)] | None = None


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
