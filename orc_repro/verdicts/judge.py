"""From differences to a verdict, by the rules of ``reports/protocol.md``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orc_repro.errors import UserError
from orc_repro.report.results import Result
from orc_repro.report.statistics import LEAST_SEEDS, Summary, summarise
from orc_repro.verdicts.claims import Claim, Claims, Test
from orc_repro.verdicts.paired import Difference, difference, holm

Verdict = Literal["supported", "not supported", "undecided at this scale", "incomplete", "not run"]
Key = tuple[str, str, str]
"""Dataset, group, method."""


@dataclass(frozen=True)
class Judged:
    """A test with what was measured.

    Attributes:
        test: which.
        better: the accuracies of the method that the claim puts first; None if nothing was run.
        worse: of the other one.
        difference: between them, paired by seed.
        adjusted_p: within the claim; None where the difference has no p-value.
    """

    test: Test
    better: Summary | None
    worse: Summary | None
    difference: Difference
    adjusted_p: float | None


@dataclass(frozen=True)
class Line:
    """A claim, its tests and what they come to.

    Attributes:
        claim: which.
        tests: in the order they were declared.
        weakest: the test that the verdict hangs on.
        verdict: ``not run`` if no test has a pair of runs, ``incomplete`` if some test has too few
            and none that has enough speaks against the claim.
        complete: whether every test has all seeds that were declared.
    """

    claim: Claim
    tests: tuple[Judged, ...]
    weakest: Judged
    verdict: Verdict
    complete: bool


def counts(result: Result, claims: Claims) -> bool:
    """Whether a result is one of those that were declared, finite or not."""
    return result.recipe == claims.recipe and result.seed in claims.seeds


def by_method(results: list[Result], claims: Claims) -> dict[Key, dict[int, Result]]:
    """The results that count, by dataset, group and method, then by seed.

    Raises:
        UserError: a method's results come from more than one configuration.
    """
    found: dict[Key, dict[int, Result]] = {}
    for result in results:
        if counts(result, claims) and not result.not_finite:
            key = result.dataset, result.group, result.method
            found.setdefault(key, {})[result.seed] = result
    for (dataset, group, method), seeds in found.items():
        if len({result.row for result in seeds.values()}) > 1:
            raise UserError(
                f"the results of {method} on {dataset}, {group}, are of several configurations"
            )
    return found


def judge(claims: Claims, results: Mapping[Key, Mapping[int, Result]]) -> list[Line]:
    """A line for each claim."""
    return [_line(claim, claims, results) for claim in claims.claims]


def _line(claim: Claim, claims: Claims, results: Mapping[Key, Mapping[int, Result]]) -> Line:
    pairs = [(_values(test, test.better, results), _values(test, test.worse, results))
             for test in claim.tests]  # fmt: skip
    differences = [difference(*pair) for pair in pairs]
    adjusted = holm([found.p for found in differences])
    tests = tuple(
        Judged(test, _summary(better), _summary(worse), found, p)
        for test, (better, worse), found, p in zip(
            claim.tests, pairs, differences, adjusted, strict=True
        )
    )
    complete = all(len(set(claims.seeds) & a.keys() & b.keys()) == len(claims.seeds)
                   for a, b in pairs)  # fmt: skip
    return Line(claim, tests, min(tests, key=_strength), _verdict(tests, claims.level), complete)


def _values(
    test: Test, method: str, results: Mapping[Key, Mapping[int, Result]]
) -> dict[int, float]:
    found = results.get((test.dataset, test.group, method), {})
    return {seed: result.target.last.top1 for seed, result in found.items()}


def _summary(values: Mapping[int, float]) -> Summary | None:
    return summarise([*values.values()]) if values else None


def _strength(judged: Judged) -> tuple[float, float]:
    """Rank a test from -1, clearly against the claim, to 1, clearly for it.

    Equal differences rank at 0, too few seeds below everything. Tests with the same adjusted
    p-value are told apart by their own.
    """
    paired, adjusted, p = judged.difference.paired, judged.adjusted_p, judged.difference.p
    if paired is None or paired.n < LEAST_SEEDS:
        return -2.0, paired.n if paired else 0
    if adjusted is None or p is None:
        return 0.0, 0.0
    sign = 1 if paired.mean > 0 else -1
    return sign * (1 - adjusted), sign * (1 - p)


def _verdict(tests: tuple[Judged, ...], level: float) -> Verdict:
    signs = []
    for judged in tests:
        paired, adjusted = judged.difference.paired, judged.adjusted_p
        if paired is None or paired.n < LEAST_SEEDS:
            continue
        decided = adjusted is not None and adjusted < level
        signs.append(0 if not decided or not paired.mean else 1 if paired.mean > 0 else -1)
    if -1 in signs:
        return "not supported"
    if len(signs) < len(tests):
        started = any(judged.difference.paired for judged in tests)
        return "incomplete" if started else "not run"
    return "supported" if all(sign == 1 for sign in signs) else "undecided at this scale"
