"""Every method of ``params.yaml`` in a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orc_repro.config import AnyMethod, FeatureConfig, Params
from orc_repro.distill import SOURCES
from orc_repro.tracking.description import flat
from orc_repro.verdicts.claims import LEVELS

FEATURES = {
    "fitnet": "FitNet, Romero et al., ICLR 2015: the map of the middle stage, by torchdistill",
    "at": "AT, Zagoruyko, Komodakis, ICLR 2017: attention maps, by torchdistill",
    "vid": "VID, Ahn et al., CVPR 2019: what features say of the teacher's, by torchdistill",
    "rkd": "RKD, Park et al., CVPR 2019: distances and angles of samples, by torchdistill",
    "pkt": "PKT, Passalis, Tefas, ECCV 2018: likeness of samples, by torchdistill",
}
"""Where each loss of the kind ``feature`` comes from; the other kinds: ``distill.SOURCES``."""

TUNED = "tuned-"
TUNINGS = dict.fromkeys(LEVELS, "tried in tuning") | {"chain": "for its assistants"}
"""What ends the name of a method that stands beside a tuned one."""


def overview(params: Params) -> list[str]:
    """A line a method: name, where it comes from; or, for a variant, what it changes.

    A variant is called after what it changes (``orc-mean``), or has a source that an earlier method
    has as well.
    """
    width = max(map(len, params.methods))
    first: dict[str, str] = {}
    lines = []
    for name, method in params.methods.items():
        source = _source(method)
        base = _called_after(name, method, params.methods) or first.setdefault(source, name)
        told = source if base == name else _variant(name, base, params.methods)
        lines.append(f"{name:<{width}}  {told}")
    return lines


def _source(method: AnyMethod) -> str:
    return FEATURES[method.loss] if isinstance(method, FeatureConfig) else SOURCES[method.kind]


def _called_after(name: str, method: AnyMethod, methods: Mapping[str, AnyMethod]) -> str | None:
    """The method of the same kind with the longest name that this one's begins with."""
    fits = (
        other
        for other, config in methods.items()
        if name.startswith(f"{other}-") and config.kind == method.kind
    )
    return max(fits, key=len, default=None)


def _variant(name: str, base: str, methods: Mapping[str, AnyMethod]) -> str:
    changes = ", ".join(_changes(methods[base], methods[name]))
    told = f"{base} with {changes}" if changes else f"as {base}"
    if name.startswith(TUNED):
        if not base.startswith(TUNED):
            return f"{told}, its free parameter tuned (scaled reproduction)"
        if why := TUNINGS.get(name.removeprefix(f"{base}-")):
            return f"{told}, {why}"
    return told


def _changes(usual: AnyMethod, method: AnyMethod) -> Iterator[str]:
    before = dict(pair for key, value in usual.model_dump().items() for pair in flat(key, value))
    for key, value in method.model_dump().items():
        for path, found in flat(key, value):
            if before[path] != found:
                yield f"{path} {found}"
