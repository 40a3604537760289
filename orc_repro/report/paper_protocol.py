"""What a result was run by, beside the protocol of published tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orc_repro.config import Recipe
    from orc_repro.report.paper import Paper
    from orc_repro.report.results import Result
    from orc_repro.report.tables import MethodRow

NO_PROTOCOL = {"compile", "deterministic", "cpu_threads"}  # how it is computed, not what


@dataclass(frozen=True)
class Protocol:
    """The published protocol; the attributes are arguments of ``paper_columns``."""

    paper: Paper
    recipes: Mapping[str, Recipe]
    training_images: Mapping[str, int | None]

    def flags(self, row: MethodRow, n: int) -> list[str]:
        """What differs from the paper's protocol, each difference once."""
        found = [flag for result in row.results.values() for flag in self._differences(result)]
        if row.mixed:
            found.append("the seeds are of mixed configurations")
        if row.not_finite:
            found.append(f"a student's loss was not finite in {row.not_finite} of the runs")
        if row.results and n < row.declared:
            found.append(f"{n} of {row.declared} seeds")
        return list(dict.fromkeys(found))

    def _differences(self, result: Result) -> list[str]:
        # What the result says of itself counts: the study may have been edited since the run.
        paper, found = self.paper, []
        if result.dataset != paper.dataset:
            found.append(f"dataset {result.dataset}, not {paper.dataset}")
        images = self.training_images.get(result.dataset)
        if images is None:
            found.append("number of training images not known")
        elif images != paper.training_images:
            found.append(f"{images:,} training images, not {paper.training_images:,}")
        if result.recipe not in self.recipes:
            return [*found, f"recipe {result.recipe} not known"]
        theirs = _flat(self.recipes[paper.recipe])
        ours = _flat(self.recipes[result.recipe]) | {"epochs": str(result.epochs)}
        return found + [
            f"{key} {ours.get(key, 'unset')}, not {theirs.get(key, 'unset')}"
            for key in dict.fromkeys([*ours, *theirs])
            if ours.get(key) != theirs.get(key)
        ]


def _flat(recipe: Recipe) -> dict[str, str]:
    def walk(value: Any, key: str) -> dict[str, str]:
        if not isinstance(value, dict):
            return {key: json.dumps(value)}
        inner = (walk(v, f"{key}.{k}" if key else k) for k, v in value.items())
        return {name: text for part in inner for name, text in part.items()}

    return walk(recipe.model_dump(mode="json", exclude=NO_PROTOCOL), "")
