"""The claims as they were declared before the runs: which two methods each test compares."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import Field

from orc_repro.config import Params
from orc_repro.errors import UserError, one_line
from orc_repro.ranges import Seed
from orc_repro.validation import Strict, parse
from orc_repro.yaml_files import read_yaml

CLAIMS = Path("studies/scaled_claims.yaml")
LEVELS = ("low", "middle", "high")
"""The values that tuning tries of a method's one free parameter."""


class Test(Strict):
    """One comparison; the claim says that ``better`` reaches the higher accuracy."""

    dataset: str
    group: str
    better: str
    worse: str


class Claim(Strict):
    """A sentence about the paper's method, its tables, and its tests.

    Attributes:
        says: what is tested.
        tables: of the paper.
        record: what is known of the paper's own claim, and from whom.
        guess: what of ``says`` is ours.
        tests: all of them have to hold.
    """

    says: str
    tables: Annotated[tuple[Annotated[int, Field(ge=1, le=10)], ...], Field(strict=False)]
    record: str
    guess: str = "nothing"
    tests: Annotated[tuple[Test, ...], Field(strict=False, min_length=1)]


class Tuning(Strict):
    """What chose the free parameter of each method, before anything of the claims was run.

    Attributes:
        recipe: of the tuning's cells.
        seed: theirs.
        methods: each was tried as ``<method>-low``, ``-middle`` and ``-high``.
    """

    recipe: str
    seed: Seed
    methods: Annotated[tuple[str, ...], Field(strict=False)]


class Alternative(Strict):
    """Other answers to something that the paper leaves open; no claim, so no verdict.

    Attributes:
        asks: the question.
        baseline: the method that has the answer which stands in the other tables.
        methods: each with another answer.
        elsewhere: more of them, in other groups that have the same target.
        recipe: if another one than the claims'.
    """

    asks: str
    dataset: str
    group: str
    baseline: str
    methods: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    elsewhere: dict[str, Annotated[tuple[str, ...], Field(strict=False)]] = Field(
        default_factory=dict
    )
    recipe: str | None = None

    @property
    def answers(self) -> tuple[tuple[str, str], ...]:
        """Group and method of each other answer."""
        here = [(self.group, method) for method in self.methods]
        return (*here, *((g, m) for g, methods in self.elsewhere.items() for m in methods))


class Claims(Strict):
    """``studies/scaled_claims.yaml``.

    Attributes:
        recipe: of all cells that count.
        seeds: that were declared; others do not count.
        level: an adjusted p-value below it decides.
        claims: in the order of the report.
        tuning: what was tried before.
        alternatives: in the order of the report.
    """

    recipe: str
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=2)]
    level: Annotated[float, Field(gt=0, lt=1)]
    claims: Annotated[tuple[Claim, ...], Field(strict=False, min_length=1)]
    tuning: Tuning | None = None
    alternatives: Annotated[tuple[Alternative, ...], Field(strict=False)] = ()

    @property
    def datasets(self) -> tuple[str, ...]:
        """Every dataset that is named, once."""
        places = [test.dataset for claim in self.claims for test in claim.tests]
        return tuple(dict.fromkeys([*places, *(other.dataset for other in self.alternatives)]))


def load_claims(params: Params, path: Path = CLAIMS) -> Claims:
    """Read the claims.

    Raises:
        UserError: they are not as described, or name what ``params.yaml`` has not.
    """
    found = parse(Claims, read_yaml(path), str(path))
    tests = [test for claim in found.claims for test in claim.tests]
    methods = {name for test in tests for name in (test.better, test.worse)}
    recipes = {found.recipe}
    groups = {test.group for test in tests}
    for other in found.alternatives:
        methods |= {other.baseline, *(method for _, method in other.answers)}
        groups |= {other.group, *other.elsewhere}
        recipes |= {other.recipe or found.recipe}
    if found.tuning is not None:
        recipes.add(found.tuning.recipe)
        methods |= {f"{name}-{level}" for name in found.tuning.methods for level in LEVELS}
        methods |= set(found.tuning.methods)
    known: dict[str, tuple[Collection[str], set[str]]] = {
        "recipe": (params.recipes, recipes),
        "dataset": (params.data, set(found.datasets)),
        "group": (params.groups, groups),
        "method": (params.methods, methods),
    }
    for what, (declared, named) in known.items():
        for name in sorted(named - set(declared)):
            raise UserError(f"{path}: params.yaml has no {what} '{one_line(name)}'")
    return found
