"""Every method of ``params.yaml`` in a line."""

from __future__ import annotations

from collections.abc import Iterator

from orc_repro.config import AnyMethod, Params
from orc_repro.distill import SOURCES
from orc_repro.tracking.description import flat


def overview(params: Params) -> list[str]:
    """A line a method: name, where it comes from; or, for a variant, what it changes.

    A variant is a method of a kind that an earlier one has as well.
    """
    width = max(map(len, params.methods))
    first: dict[str, tuple[str, AnyMethod]] = {}
    lines = []
    for name, method in params.methods.items():
        base, usual = first.setdefault(method.kind, (name, method))
        told = SOURCES[method.kind]
        if base != name:
            changes = ", ".join(_changes(usual, method))
            told = f"{base} with {changes}" if changes else f"as {base}, to be tuned apart"
        lines.append(f"{name:<{width}}  {told}")
    return lines


def _changes(usual: AnyMethod, method: AnyMethod) -> Iterator[str]:
    before = dict(pair for key, value in usual.model_dump().items() for pair in flat(key, value))
    for key, value in method.model_dump().items():
        for path, found in flat(key, value):
            if before[path] != found:
                yield f"{path} {found}"
