"""Which value of its one free parameter each method gets: by validation, and by a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orc_repro.config import Params
from orc_repro.errors import UserError
from orc_repro.report.results import Result
from orc_repro.verdicts.claims import LEVELS, Tuning

Place = tuple[str, str]
"""Dataset and group."""


@dataclass(frozen=True)
class Choice:
    """A method, the values that were tried, and what they reached.

    Attributes:
        method: which.
        parameter: by its path in ``params.yaml``.
        values: of the parameter, by level.
        reached: by place and level, the target's validation accuracy in percent after the last
            epoch; what was not run is not there.
        entered: the value that the tables' method has.
    """

    method: str
    parameter: str
    values: Mapping[str, object]
    reached: Mapping[Place, Mapping[str, float]]
    entered: object

    def total(self, level: str) -> float | None:
        """The sum over places; None as long as one is missing, or nothing was run."""
        found = [self.reached[place].get(level) for place in self.reached]
        known = [value for value in found if value is not None]
        return round(sum(known), 6) if found and len(known) == len(found) else None

    @property
    def chosen(self) -> str | None:
        """The level with the largest sum; of equal ones the middle, then the low one. None until
        everything was run.
        """
        totals = {level: self.total(level) for level in ("middle", "low", "high")}
        if None in totals.values():
            return None
        return max(totals, key=lambda level: totals[level] or 0.0)


def choices(
    tuning: Tuning, params: Params, results: Sequence[Result], validation: Mapping[str, float]
) -> list[Choice]:
    """What was tried of each method.

    Args:
        tuning: which cells count.
        params: has the values.
        results: of any recipe and seed.
        validation: by fingerprint, the target's validation accuracy after the last epoch.

    Raises:
        UserError: the variants of a method do not differ in one parameter alone.
    """
    counted = [r for r in results if r.recipe == tuning.recipe and r.seed == tuning.seed]
    return [_choice(method, params, counted, validation) for method in tuning.methods]


def _choice(
    method: str, params: Params, counted: Sequence[Result], validation: Mapping[str, float]
) -> Choice:
    configs = {level: _flat(params.methods[f"{method}-{level}"].model_dump()) for level in LEVELS}
    first = configs["low"]
    free = [key for key in first if any(config[key] != first[key] for config in configs.values())]
    if len(free) != 1:
        which = ", ".join(free) or "nothing"
        raise UserError(f"params.yaml: low, middle and high of {method} differ in {which}")
    reached: dict[Place, dict[str, float]] = {}
    for result in counted:
        stem, _, level = result.method.rpartition("-")
        if stem == method and level in LEVELS and not result.not_finite:
            place = result.dataset, result.group
            reached.setdefault(place, {})[level] = validation[result.fingerprint]
    return Choice(
        method=method,
        parameter=free[0],
        values={level: config[free[0]] for level, config in configs.items()},
        reached=reached,
        entered=_flat(params.methods[method].model_dump())[free[0]],
    )


def _flat(config: Mapping[str, object], before: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat
