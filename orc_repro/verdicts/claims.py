"""The claims as they were declared before the runs: which two methods each test compares."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import Field

from orc_repro.config import Params
from orc_repro.errors import UserError
from orc_repro.validation import Strict, parse
from orc_repro.yaml_files import read_yaml

CLAIMS = Path("studies/scaled_claims.yaml")


class Test(Strict):
    """One comparison; the claim says that ``better`` reaches the higher accuracy."""

    dataset: str
    group: str
    better: str
    worse: str


class Claim(Strict):
    """A sentence of the paper, its tables, and its tests."""

    says: str
    tables: Annotated[tuple[int, ...], Field(strict=False)]
    tests: Annotated[tuple[Test, ...], Field(strict=False, min_length=1)]


class Claims(Strict):
    """``studies/scaled_claims.yaml``.

    Attributes:
        recipe: of all cells that count.
        seeds: that were declared; others do not count.
        level: an adjusted p-value below it decides.
        claims: in the order of the report.
    """

    recipe: str
    seeds: Annotated[tuple[int, ...], Field(strict=False, min_length=2)]
    level: Annotated[float, Field(gt=0, lt=1)]
    claims: Annotated[tuple[Claim, ...], Field(strict=False, min_length=1)]


def load_claims(params: Params, path: Path = CLAIMS) -> Claims:
    """Read the claims.

    Raises:
        UserError: they are not as described, or name what ``params.yaml`` has not.
    """
    found = parse(Claims, read_yaml(path), str(path))
    known: dict[str, tuple[Collection[str], set[str]]] = {
        "recipe": (params.recipes, {found.recipe}),
        "dataset": (params.data, {test.dataset for c in found.claims for test in c.tests}),
        "group": (params.groups, {test.group for c in found.claims for test in c.tests}),
        "method": (
            params.methods,
            {name for c in found.claims for t in c.tests for name in (t.better, t.worse)},
        ),
    }
    for what, (declared, named) in known.items():
        for name in sorted(named - set(declared)):
            raise UserError(f"{path}: params.yaml has no {what} '{name}'")
    return found
