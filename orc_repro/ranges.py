"""Numbers with two ends, for every model of a file and every option of a command.

A number without an upper end is accepted, and ends in an overflow, in an endless allocation, or
never. Each end is far beyond what any run needs and within what every library takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

MOST_EPOCHS = 100_000
LARGEST_BATCH = 2**20
MOST_THREADS = 512
MOST_PROCESSES = 256
MOST_IMAGES = 10**10
LARGEST_SIDE = 8192
LARGEST_RATE = 1000.0

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What numpy, torch and Optuna all take."""
Epochs = Annotated[int, Field(ge=1, le=MOST_EPOCHS)]
Epoch = Annotated[int, Field(ge=0, le=MOST_EPOCHS)]
Batch = Annotated[int, Field(ge=2, le=LARGEST_BATCH)]
Threads = Annotated[int, Field(ge=1, le=MOST_THREADS)]
Processes = Annotated[int, Field(ge=1, le=MOST_PROCESSES)]
Images = Annotated[int, Field(ge=1, le=MOST_IMAGES)]
Pixels = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
"""Of bytes, steps, parameters and the like, as files and databases store it."""
Version = Annotated[int, Field(ge=1, le=10**6)]
Trials = Annotated[int, Field(ge=1, le=10**6)]
TrialsOrNone = Annotated[int, Field(ge=0, le=10**6)]
Classes = Annotated[int, Field(ge=2, le=2**16)]
"""Predictions are stored in 16 bits."""

Fraction = Annotated[float, Field(ge=0, le=1)]
InnerFraction = Annotated[float, Field(gt=0, lt=1)]
InnerPart = Annotated[float, Field(gt=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
LeastPercent = Annotated[float, Field(gt=0, le=100)]
Decay = Annotated[float, Field(ge=0, lt=1)]
"""Of an exponential mean, as momentum."""
Rate = Annotated[float, Field(gt=0, le=LARGEST_RATE)]
RateOrNone = Annotated[float, Field(ge=0, le=LARGEST_RATE)]
Temperature = Annotated[float, Field(ge=0.01, le=1000)]
"""Its square and its inverse are factors of float32 logits."""
Weight = Annotated[float, Field(ge=0, le=10**6)]
Concentration = Annotated[float, Field(ge=0.001, le=1000)]
"""Of a Beta distribution: below, the draws of a library may be NaN."""
Ratio = Annotated[float, Field(ge=0.01, le=100)]
Spread = Annotated[float, Field(ge=0.001, lt=1)]
"""A standard deviation on the 0..1 scale, to divide by."""
Seconds = Annotated[float, Field(ge=0, le=7 * 24 * 3600)]
Measured = Annotated[float, Field(ge=-1e100, le=1e100)]
"""A figure of a run; squares of it are finite, too."""
Cost = Annotated[float, Field(ge=0, le=1e100)]
"""A figure of a run that is not negative, as a time."""
Milliseconds = Annotated[int, Field(ge=0, lt=253_402_300_800_000)]
"""Since 1970, until the year 10,000."""

_ENDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def range_in_words(model: type[BaseModel], location: Sequence[str | int]) -> str | None:
    """Tell the range of a number in a model: ``at least 0 and below 1``.

    Args:
        model: the model.
        location: of the number, as pydantic's errors have it.

    Returns:
        None where the model has no range at this location, or more than one.
    """
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    schemas = list(_alternatives([schema], definitions))
    for part in location:
        # What pydantic adds to a location for a member of a union leads nowhere in the schema.
        schemas = [*_alternatives(_below(schemas, part), definitions)] or schemas
    ranges = {
        " and ".join(
            f"{words} {_plain(found[end])}" for end, words in _ENDS.items() if end in found
        )
        for found in schemas
    }
    ranges.discard("")
    return ranges.pop() if len(ranges) == 1 else None


def _below(schemas: Iterable[Mapping[str, Any]], part: str | int) -> Iterator[Mapping[str, Any]]:
    """The schemas of a key or an item."""
    for schema in schemas:
        if isinstance(part, int):
            items = [*schema.get("prefixItems", ()), schema.get("items")]
            inner = items[min(part, len(items) - 1)]
        else:
            others = [*schema.get("patternProperties", {}).values()]  # of names of a pattern
            others.append(schema.get("additionalProperties"))
            inner = schema.get("properties", {}).get(part, others[0])
        if isinstance(inner, Mapping):
            yield inner


def _alternatives(
    schemas: Iterable[Mapping[str, Any]], definitions: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """The schemas, with references resolved and unions taken apart."""
    for schema in schemas:
        if "$ref" in schema:
            yield from _alternatives([definitions[schema["$ref"].split("/")[-1]]], definitions)
        elif inner := [*schema.get("anyOf", ()), *schema.get("oneOf", ())]:
            yield from _alternatives(inner, definitions)
        else:
            yield schema


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e21 else f"{number:g}"
